# Runs tests built for Windows under Wine. To be sourced, after packages.sh.
# shellcheck shell=bash

# The packages whose tests need neither Linux nor what Wine lacks: see docs/PLATFORMS.md.
WINE_PACKAGES="./vsock ./vsock/hyperv ./vsock/vsocktest ./vswitch
  ./internal/stack ./internal/packet ./internal/winsock ./internal/transfer"

# Wine's folder, with its drive C and its registry. It is the project's own, so that
# nothing is written to the user's.
WINE_FOLDER=$PWD/.cache/wine
WINE_LOG=$PWD/.cache/wine.log

# Seconds until a program is ended, and until it is killed after that. The slowest
# takes 5 s, and to fill Wine's folder takes 8 s.
WINE_LIMIT=120
WINE_KILL_AFTER=5

# with_wine COMMAND...: runs it with Wine's settings. mscoree and mshtml are what Wine
# would download a substitute for, winemenubuilder.exe writes into the user's menus,
# and without a display nothing waits for a click.
with_wine() {
  env -u DISPLAY -u WAYLAND_DISPLAY WINEPREFIX="$WINE_FOLDER" WINEDEBUG=-all \
    WINEDLLOVERRIDES="mscoree,mshtml,winemenubuilder.exe=" "$@"
}

# windows_exec: the command that runs a Windows program given to it.
windows_exec() {
  echo "timeout -k $WINE_KILL_AFTER $WINE_LIMIT $(wine_loader)"
}

# prepare_wine: makes Wine ready for Go programs, and fails if it does not run them.
# What was said is in $WINE_LOG then. stop_wine must follow at the end, in any case.
prepare_wine() {
  mkdir -p .cache
  {
    # A folder that was left half made, or whose server is stuck, is made anew.
    wine_runs_go || { stop_wine; fill_wine_folder && wine_runs_go; }
  } >"$WINE_LOG" 2>&1 </dev/null
}

fill_wine_folder() {
  local dll=$WINE_FOLDER/drive_c/windows/system32/bcryptprimitives.dll
  rm -rf "$WINE_FOLDER"
  # It links the folders of the user's documents to those in HOME.
  # shellcheck disable=SC2046 # a command and its arguments
  HOME=$WINE_FOLDER with_wine $(windows_exec) wineboot --init || return
  [ -e "$dll" ] || go run ./scripts/wineprng "$dll"
}

# wine_runs_go tries it with a small Go program, which writes a file: it must be the
# same as here.
wine_runs_go() {
  [ -d "$WINE_FOLDER" ] || return
  (
    cd "$WINE_FOLDER" && rm -f here.dll there.dll &&
      go run ../../scripts/wineprng here.dll &&
      GOOS=windows GOARCH=amd64 CGO_ENABLED=0 with_wine \
        go run -exec "$(windows_exec)" ../../scripts/wineprng there.dll &&
      cmp here.dll there.dll
  )
}

# test_under_wine: runs the tests, and prints what they do in the form of
# `go test -json`.
test_under_wine() {
  # shellcheck disable=SC2086 # a list of packages
  GOOS=windows GOARCH=amd64 CGO_ENABLED=0 with_wine \
    go test -json -vet=off -count=1 -exec "$(windows_exec)" $WINE_PACKAGES
}

# stop_wine ends all of Wine's programs, those that a test left behind too.
stop_wine() {
  local server
  server=$(dirname "$(wine_loader)")/wineserver
  with_wine timeout -k "$WINE_KILL_AFTER" "$WINE_LIMIT" "$server" -k >/dev/null 2>&1 || true
}

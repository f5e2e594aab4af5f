# The Debian packages the project's commands use, by purpose, and how to get
# those that are missing. To be sourced, by bash.
# shellcheck shell=bash

# package_names PURPOSE: the packages that serve it.
package_names() {
  case $1 in
    guests) echo user-mode-linux ;;
    race) echo gcc libc6-dev ;;
  esac
}

# package_use PURPOSE: what it serves, in words.
package_use() {
  case $1 in
    guests) echo "boots Linux guests (User Mode Linux)" ;;
    race) echo "a C compiler, for the race detector" ;;
  esac
}

# have PURPOSE: is it served? This asks for the thing and not for its package,
# so that a compiler from elsewhere is as good as Debian's.
have() {
  case $1 in
    guests) command -v linux.uml >/dev/null ;;
    # Go needs no C compiler for the race detector on macOS.
    race) [ "$(go env GOHOSTOS)" = darwin ] ||
      $(go env CC) -x c -c -o /dev/null - <<<'#include <stdlib.h>' 2>/dev/null ;;
  esac
}

# obtainable PACKAGE...: no only if apt-get knows of packages but not of these
# (another architecture, another distribution).
obtainable() {
  ! compgen -G '/var/lib/apt/lists/*_Packages*' >/dev/null ||
    apt-cache show --no-all-versions "$@" >/dev/null 2>&1
}

# install_missing PURPOSE...: gets what is missing, if this machine can have it
# and we may install it. It fails, having named the packages, when something
# that could be had is still missing. What cannot be had here at all is no
# failure; ask `have` afterwards.
install_missing() {
  local purpose missing="" list=""
  command -v apt-get >/dev/null || return 0
  for purpose; do
    have "$purpose" || missing+=" $purpose"
  done
  [ -n "$missing" ] || return 0

  export DEBIAN_FRONTEND=noninteractive
  if [ "$(id -u)" = 0 ]; then
    # Without fresh lists an installation may still work, so go on.
    apt-get -qq update </dev/null >&2 || true
  fi

  local packages=()
  for purpose in $missing; do
    # shellcheck disable=SC2046 # a list of names
    obtainable $(package_names "$purpose") || continue
    # shellcheck disable=SC2207
    packages+=($(package_names "$purpose"))
    list+="  $(package_names "$purpose"): $(package_use "$purpose")"$'\n'
  done
  [ -n "$list" ] || return 0

  if [ "$(id -u)" = 0 ]; then
    echo "installing ${packages[*]}" >&2
    # Another apt-get may be at work: wait for its lock, but not for ever.
    if apt-get -qq -y install --no-install-recommends -o DPkg::Lock::Timeout=120 \
      "${packages[@]}" </dev/null >&2; then
      return 0
    fi
    echo "apt-get could not install these packages:" >&2
  else
    echo "These packages are missing, and only root may install them:" >&2
  fi
  printf '%sTo install them:\n  sudo apt-get install %s\n' "$list" "${packages[*]}" >&2
  return 1
}

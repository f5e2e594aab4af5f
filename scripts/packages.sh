# The Debian packages the project's commands use, by purpose, and how to get
# those that are missing. To be sourced, by bash.
# shellcheck shell=bash

# package_names PURPOSE: the packages that serve it.
package_names() {
  case $1 in
    guests) echo user-mode-linux ;;
    qemu) echo qemu-system-x86 ;;
    race) echo gcc libc6-dev ;;
    socat) echo socat ;;
    programs) echo curl fish mandoc ncat openssh-client openssh-server systemd tshark zsh ;;
    kerneltest) echo gcc libc6-dev xz-utils ;;
    wine) echo wine64 libwine ;;
  esac
}

# package_use PURPOSE: what it serves, in words.
package_use() {
  case $1 in
    guests) echo "boots Linux guests (User Mode Linux)" ;;
    qemu) echo "boots Linux guests (a PC that QEMU emulates)" ;;
    race) echo "a C compiler, for the race detector" ;;
    socat) echo "a client that others have written, which runs in guests" ;;
    programs) echo "programs of others, which the command must get along with" ;;
    kerneltest) echo "builds Linux's own test program of vSockets" ;;
    wine) echo "runs tests built for Windows (104 MB to download)" ;;
  esac
}

# have PURPOSE: is it served? This asks for the thing and not for its package,
# so that a compiler from elsewhere is as good as Debian's.
have() {
  case $1 in
    guests) command -v linux.uml >/dev/null ;;
    qemu) command -v qemu-system-x86_64 >/dev/null ;;
    # Go needs no C compiler for the race detector on macOS.
    race) [ "$(go env GOHOSTOS)" = darwin ] ||
      $(go env CC) -x c -c -o /dev/null - <<<'#include <stdlib.h>' 2>/dev/null ;;
    socat) command -v socat >/dev/null ;;
    programs) [ -z "$(missing_programs)" ] ;;
    # A static program, which links the C library's archive.
    kerneltest) command -v xz >/dev/null &&
      cc -x c -static -o /dev/null - <<<'int main(void) { return 0; }' 2>/dev/null ;;
    wine) wine_loader >/dev/null ;;
  esac
}

# missing_programs: those of the purpose "programs" that are not there. sshd is outside
# the PATH of all but root.
missing_programs() {
  local program
  for program in curl fish mandoc ncat ssh sshd systemd-socket-activate tshark zsh; do
    PATH=$PATH:/usr/sbin command -v "$program" >/dev/null || echo "$program"
  done
}

# wine_loader: the path of Wine's loader of 64-bit programs. Debian has it outside
# PATH: what there is in PATH is another package, which wants 32-bit Wine.
wine_loader() {
  command -v wine64 || command -v /usr/lib/wine/wine64
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

# The kernels that QEMU boots, by series, each in a folder of its own with the
# contents of Debian's package. They are unpacked there and not installed, which
# takes no root. internal/testguest looks for them where the variable says.
KERNELS="6.1 6.12"
export VSOCKETS_KERNELS=${VSOCKETS_KERNELS:-$PWD/.cache/kernels}

# kernel_package SERIES: the package with the newest kernel of the series, or
# nothing if this distribution has none.
kernel_package() {
  local any
  case $1 in
    6.1) any=linux-image-cloud-amd64 ;;
    6.12) any=linux-image-6.12-cloud-amd64 ;;
  esac
  # That is an empty package which depends on the one of today.
  { apt-cache show --no-all-versions "$any" 2>/dev/null || true; } |
    sed -n "s/^Depends: \(linux-image-${1//./\\.}\.[^ ,]*\).*/\1/p"
}

# have_kernel SERIES
have_kernel() {
  compgen -G "$VSOCKETS_KERNELS/$1/boot/vmlinuz-$1.*" >/dev/null
}

# fetch_missing_kernels: gets the kernels that are missing and that can be had
# here. It fails if one of those is still missing then.
fetch_missing_kernels() {
  local series missing="" package status=0
  command -v apt-get >/dev/null || return 0
  for series in $KERNELS; do
    have_kernel "$series" || missing+=" $series"
  done
  [ -n "$missing" ] || return 0

  if [ "$(id -u)" = 0 ]; then
    apt-get -qq update </dev/null >&2 || true
  fi
  for series in $missing; do
    package=$(kernel_package "$series")
    if [ -n "$package" ] && ! fetch_kernel "$series" "$package"; then
      echo "Linux $series could not be fetched: apt-get download $package" >&2
      status=1
    fi
  done
  return $status
}

# fetch_kernel SERIES PACKAGE: the folder appears when it is complete.
fetch_kernel() {
  local temp status=0
  echo "fetching $2 into $VSOCKETS_KERNELS" >&2
  mkdir -p "$VSOCKETS_KERNELS" && temp=$(mktemp -d "$VSOCKETS_KERNELS/.new.XXXXXX") || return
  # As root, apt-get would give up its rights, and with them the folder.
  (cd "$temp" && apt-get -qq -o APT::Sandbox::User=root download "$2" </dev/null >&2 &&
    dpkg -x ./*.deb root) && mv "$temp/root" "$VSOCKETS_KERNELS/$1" || status=1
  rm -rf "$temp"
  return $status
}

# Linux's own test program of vSockets, which is no part of any package but the one
# with the kernel's source. internal/testguest looks for it where the variable says.
KERNELTEST_SERIES=6.1
KERNELTEST=$PWD/.cache/kerneltest/vsock_test

have_kerneltest() {
  [ -x "$KERNELTEST" ]
}

# fetch_missing_kerneltest: builds the program if it is missing and if its source
# can be had here. It fails if it is still missing then, though it could be had.
fetch_missing_kerneltest() {
  local package=linux-source-$KERNELTEST_SERIES
  have_kerneltest && return 0
  command -v apt-get >/dev/null && have kerneltest || return 0
  if [ "$(id -u)" = 0 ]; then
    apt-get -qq update </dev/null >&2 || true
  fi
  [ -n "$(apt-cache show --no-all-versions "$package" 2>/dev/null || true)" ] || return 0
  if ! build_kerneltest "$package"; then
    echo "Linux's vsock_test could not be built: apt-get download $package" >&2
    return 1
  fi
}

# build_kerneltest PACKAGE: of the source, only what the program needs is unpacked,
# and only the program is kept. It appears when it is complete.
build_kerneltest() {
  local source=linux-source-$KERNELTEST_SERIES folder temp status=0
  folder=$(dirname "$KERNELTEST")
  echo "building vsock_test from $1 (140 MB, to be deleted again)" >&2
  mkdir -p "$folder" && temp=$(mktemp -d "$folder/.new.XXXXXX") || return
  (
    cd "$temp" &&
      apt-get -qq -o APT::Sandbox::User=root download "$1" </dev/null >&2 &&
      dpkg-deb --fsys-tarfile ./*.deb | tar -xO "./usr/src/$source.tar.xz" |
      tar -xJ "$source/tools/testing/vsock" "$source/tools/include" &&
      # By its own Makefile. Static, so that it runs in any guest.
      make -s -C "$source/tools/testing/vsock" LDFLAGS=-static vsock_test </dev/null >&2 &&
      strip -o program "$source/tools/testing/vsock/vsock_test"
  ) && mv "$temp/program" "$KERNELTEST" || status=1
  rm -rf "$temp"
  return $status
}

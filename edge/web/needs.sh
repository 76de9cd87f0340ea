#!/bin/sh
# Looks for what the page's tests need: `needs.sh node` or `needs.sh chromium`, which it installs if it can.
set -eu
chromium=${CHROMIUM:-/usr/bin/chromium}

fail() {
    echo "$1" >&2
    exit 1
}

case $1 in
node)
    command -v npm >/dev/null || fail "the page needs Node.js 20.19 or later, with npm: https://nodejs.org"
    node -e 'const [major, minor] = process.versions.node.split(".").map(Number);
        process.exit(major > 20 || (major === 20 && minor >= 19) ? 0 : 1)' ||
        fail "the page needs Node.js 20.19 or later, this is $(node --version)"
    ;;
chromium)
    [ -x "$chromium" ] && exit 0
    how="install Chromium (apt-get install chromium), or set CHROMIUM to its path; it is not at $chromium"
    [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || fail "$how"
    apt-get update -q && apt-get install -y -q --no-install-recommends chromium fonts-dejavu-core || fail "$how"
    ;;
esac

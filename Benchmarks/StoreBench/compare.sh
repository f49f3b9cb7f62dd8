#!/bin/sh
# The rows of one create, in turns (A B C A B C): our SQLite store, one PostgreSQL transaction by pgbench, our
# PostgreSQL store on the same server, whose rows it keeps with index entries, revisions and a change log.
# Usage: compare.sh PATH-TO-roost-storebench [ROUNDS] [SECONDS]
#
# PostgreSQL runs as the user postgres, in a cluster of its own on a Unix socket, with its default
# durability (fsync and synchronous_commit on), on the same file system; both go afterwards. Its
# transaction is one prepared statement, so one round trip: the best that it can do.
set -eu
bench=$1
rounds=${2:-4}
seconds=${3:-8}
bin=$(ls -d /usr/lib/postgresql/*/bin | tail -n 1)
work=$(mktemp -d "${TMPDIR:-/var/tmp}/storebench.XXXXXX")
chown postgres "$work"
as_postgres() { setpriv --reuid=postgres --regid=postgres --init-groups env LC_ALL=C "$@"; }
finish() {
    as_postgres "$bin/pg_ctl" -D "$work/data" -m immediate stop >/dev/null 2>&1 || true
    rm -rf "$work"
}
# PIPE too: `compare.sh | head` once left a cluster running.
trap finish EXIT
trap "exit 1" INT TERM HUP PIPE
cd "$work"
as_postgres "$bin/initdb" -D "$work/data" -A trust --locale=C -E UTF8 >/dev/null
as_postgres "$bin/pg_ctl" -D "$work/data" -w -l "$work/log" \
    -o "-c listen_addresses='' -c unix_socket_directories=$work -c max_connections=100 \
        -c shared_buffers=256MB -c max_wal_size=4GB" start >/dev/null
sql() { as_postgres "$bin/psql" -q -h "$work" -U postgres "$@"; }
sql -c "
create table vms (key text primary key, version bigint not null, body text not null);
create table names (key text primary key, version bigint not null, body text not null);
create table ports (key text primary key, version bigint not null, body text not null);
create table operations (key text primary key, version bigint not null, body text not null);
create table entry (tbl text, name text, value text, key text, primary key (tbl, name, value, key));
create sequence ids;"
# A colon before a word would be a variable to pgbench, also in a literal.
note=$(printf '%0640d' 0 | tr 0 x)
cat >"$work/create.sql" <<SQL
\set node random(1, 50)
\set c :client_id
\set m :client_id % 8
\set a random(1, 9000000000000000000)
\set b random(1, 9000000000000000000)
\set n random(1, 9000000000000000000)
with a as (insert into vms values (:a::text || :b::text, 1, '{"created": 1790000000000,"generation": 1,"id":"0123456789abcdef0123456789abcdef","image":"sha256-abababababababababababababababababababababababababababababababab","name":"vm-1-1","node":"node-1","note":"$note","project":"project-1","spec":{"cpu":"2","disk":"10737418240","kernel":"debian","memory":"536870912"},"state":"PENDING"}')),
b as (insert into names values ('vm-' || :c::text || '-' || :n::text, 1, '{"name":"vm-1-1","vm":"0123456789abcdef0123456789abcdef"}')),
c as (insert into ports values ('node-' || :node::text || ':' || :c::text || '-' || :n::text, 1, '{"guestPort": 80,"key":"node-1.1-1","vm":"0123456789abcdef0123456789abcdef"}')),
d as (insert into operations values ('op-' || :c::text || '-' || :n::text || :b::text, 1, '{"digest":"sha256-abababababababababababababababababababababababababababababababab","id":"op-1","method":"CreateVM","state":"RUNNING","vm":"0123456789abcdef0123456789abcdef"}'))
insert into entry values ('vms', 'node', 'node-' || :node::text, :a::text || :b::text), ('vms', 'project', 'project-' || :m::text, :a::text || :b::text);
SQL
chmod 644 "$work/create.sql"
mkdir "$work/sqlite"
echo "A: $bench $work/sqlite $seconds 64"
echo "B: pgbench -n -M prepared -c 64 -j 2 -T $seconds, one statement, fsync on"
url="postgres://postgres@/roost?host=$work"
sql -c "create database roost"
echo "C: $bench $url $seconds 64"
round=0
while [ "$round" -lt "$rounds" ]; do
    "$bench" "$work/sqlite" "$seconds" 64
    as_postgres "$bin/pgbench" -n -M prepared -c 64 -j 2 -T "$seconds" -h "$work" -U postgres \
        -f "$work/create.sql" postgres | grep -E "^(tps|latency average)" | tr '\n' ' '
    echo
    "$bench" "$url" "$seconds" 64
    round=$((round + 1))
done

#!/bin/sh
# A streaming replica for reports: takes a base backup when its volume is new, then follows the primary.
set -eu
primary="host=postgres port=5432 user=replicator password=$POSTGRES_PASSWORD application_name=hub-replica"
if [ ! -s "$PGDATA/PG_VERSION" ]; then
  mkdir -p "$PGDATA"
  chmod 700 "$PGDATA"
  pg_basebackup --dbname="$primary" --pgdata="$PGDATA" --wal-method=stream --checkpoint=fast --write-recovery-conf
fi
# No hot_standby_feedback: a long report must not keep the primary from cleaning up. It may take five minutes instead.
exec postgres -c max_connections=200 -c hot_standby=on -c hot_standby_feedback=off -c max_standby_streaming_delay=300s

# Copies the primary once, then runs as its hot standby. A copy counts only when it is complete. A standby that has
# fallen behind for too long says so in its log: delete its volume, and it copies anew.
set -eu
printf '*:*:*:*:%s\n' "$(cat "$POSTGRES_PASSWORD_FILE")" >/tmp/pgpass
chmod 600 /tmp/pgpass
link="host=$PRIMARY user=objectql passfile=/tmp/pgpass application_name=$HOSTNAME"
if [ ! -e "$PGDATA" ]; then
  until pg_isready --quiet --dbname "$link"; do sleep 1; done
  rm -rf "$PGDATA.new"
  pg_basebackup --dbname "$link" --pgdata "$PGDATA.new" --write-recovery-conf --wal-method stream --checkpoint fast
  chmod 700 "$PGDATA.new"
  mv "$PGDATA.new" "$PGDATA"
fi
exec "$@" -c primary_conninfo="$link"

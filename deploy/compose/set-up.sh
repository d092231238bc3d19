#!/bin/sh
# Makes what is missing: configuration, authority, certificates, access list, Grafana's password. Runs at every start.
set -eu
umask 027
etc=/etc/headway broker=/etc/headway-broker here=$(dirname "$0")
case $HEADWAY_HOST in *[!A-Za-z0-9.:-]* | "") echo "HEADWAY_HOST must be a name or an address" >&2 && exit 2 ;; esac
case $HEADWAY_FLEET in *[!A-Za-z0-9._-]* | "") echo "HEADWAY_FLEET must be letters, digits, '.', '_', '-'" >&2 && exit 2 ;; esac
cp "$here/../model.hwb" "$etc/model.hwb.new" && mv "$etc/model.hwb.new" "$etc/model.hwb"
# what somebody changed there stays
[ -e "$etc/aggregator.toml" ] ||
    sed -e "s/@HOST@/$HEADWAY_HOST/" -e "s/@FLEET@/$HEADWAY_FLEET/" "$here/aggregator.toml" > "$etc/aggregator.toml"
[ -e "$broker/mosquitto.conf" ] ||
    edge-fleet broker-config "$broker" --name "$HEADWAY_HOST" --name broker --user headway \
        --persistence /var/lib/headway-broker --config "$etc/aggregator.toml"
password=/var/lib/headway-grafana/password
if [ ! -e $password ]; then
    openssl rand -base64 24 | tr -d '\n' > $password.new
    chmod 0644 $password.new # Grafana is another user; this volume is its alone
    mv $password.new $password
fi

#!/bin/bash
# Runs before the first start, in the app's directory: makes the secrets once, and hands ./data to the image's user.
set -eu

# A file of its own, since 1Panel writes .env again when the form changes: a new HOOKCHAIN_SECRET would change the notify URLs.
if [ ! -e secrets.env ]; then
    umask 077
    random() { od -An -N32 -tx1 /dev/urandom | tr -d ' \n'; }
    printf 'HOOKCHAIN_SECRET=%s\nHOOKCHAIN_ADMIN_TOKEN=%s\n' "$(random)" "$(random)" > secrets.env
fi

mkdir -p data
chown -R 10001:10001 data

# Sourced by scripts/docker-e2e.sh: a Docker engine of its own, and the end of all that was started.

# With everything it has under $work. Without iptables or a default bridge: containers use the host's network, or one
# that they are given.
start_engine() {
    local deadline=$((SECONDS + 60))
    dockerd --config-file "$work/daemon.json" --host "$DOCKER_HOST" --data-root "$work/engine" \
        --exec-root "$work/exec" --pidfile "$work/engine.pid" --iptables=false --ip6tables=false --ip-forward=false \
        --bridge=none "$@" >"$work/engine.log" 2>&1 </dev/null &
    engine=$!
    until docker version >/dev/null 2>&1; do
        if ! kill -0 "$engine" 2>/dev/null || [ "$SECONDS" -ge "$deadline" ]; then
            stop_engine
            return 1
        fi
        sleep 0.2
    done
}

stop_engine() {
    local deadline=$((SECONDS + 30))
    [ -n "$engine" ] || return 0
    kill "$engine" 2>/dev/null || true
    while kill -0 "$engine" 2>/dev/null && [ "$SECONDS" -lt "$deadline" ]; do sleep 0.1; done
    end_leftovers
    wait "$engine" 2>/dev/null || true
    engine=
}

# An engine that hangs, its containerd, what a client that was cut short has started: they all name $work.
end_leftovers() {
    local each
    for each in /proc/[0-9]*; do
        ! grep -qsF -- "$work/" "$each/cmdline" || kill -KILL "${each#/proc/}" 2>/dev/null || true
    done
}

clean_up() {
    local mount
    remove_topology
    stop_upstream
    stop_engine
    end_leftovers
    awk -v below="$work/" 'index($5, below) == 1 { print $5 }' /proc/self/mountinfo | sort -r |
        while read -r mount; do umount --lazy "$mount" || true; done
    rm -rf "$work"
}

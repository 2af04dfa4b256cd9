# Runs a command in a guest and says what it cost: seconds of wall, user and system, peak KiB of its first process,
# sectors written to all disks. Only builtins, so that the children the shell has waited for are the command's.
exec 9<> <(:)
sectors() {
    written=0
    for stat in /sys/block/vd*/stat; do
        read -r -a fields < "$stat"
        written=$((written + fields[6]))
    done
}
seconds() {
    local minutes=${1%m*} rest=${1#*m}
    local whole=${rest%.*} part=${rest#*.}
    seconds=$((minutes * 60 + whole)).${part%s}
}
sectors
before=$written
start=${EPOCHREALTIME/./}
"$@" > /tmp/cost.out 2>&1 &
child=$!
peak=0
while kill -0 $child 2> /dev/null; do
    while read -r key value _; do
        [[ $key == VmHWM: ]] && peak=$value
    done 2> /dev/null < /proc/$child/status
    read -r -t 0.25 -u 9
done
wait $child
status=$?
end=${EPOCHREALTIME/./}
times > /tmp/cost.times
{ read -r _; read -r user system; } < /tmp/cost.times
seconds "$user"; user=$seconds
seconds "$system"; system=$seconds
sync
sectors
echo "COST $status $((end - start)) $user $system $peak $((written - before))"
[[ $status == 0 ]] || cat /tmp/cost.out

# bash completion for hud; made by `hud completion show bash`.

_hud_words() {
    local i word
    words=() cword=0
    for ((i = 0; i <= COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        if ((${#words[@]} > 1 && i > 0)) && [[ $word == [=:]* || ${COMP_WORDS[i-1]} == [=:] ]] &&
            [[ ${words[-1]} == -* || $word == :* || ${COMP_WORDS[i-1]} == : ]]; then
            words[-1]+=$word
        else
            words+=("$word")
        fi
    done
    cword=$((${#words[@]} - 1))
}

# The value of an option that stands on the line, such as the source whose tasks are offered.
_hud_given() {
    local i name
    for ((i = 1; i < cword; i++)); do
        for name in "$@"; do
            if [[ ${words[i]} == "$name" ]]; then printf '%s' "${words[i + 1]}"; return; fi
            if [[ ${words[i]} == "$name="* ]]; then printf '%s' "${words[i]#*=}"; return; fi
        done
    done
}

_hud_quick() { if type timeout &>/dev/null; then timeout 3 "$@"; else "$@"; fi 2>/dev/null </dev/null; }

_hud_tasks() {
    local container source
    container=$(_hud_given --container) source=$(_hud_given -s --source)
    if [[ -n $container ]]; then
        _hud_quick docker exec "$container" hud task list --quiet
    else
        _hud_quick "${words[0]}" task list --quiet ${source:+"--source=$source"}
    fi
}

# Not `compgen -W`: it would run what a name puts between $( and ).
_hud_offer() {
    local line
    while IFS= read -r line; do
        [[ -n $line && $line == "$cur"* ]] && COMPREPLY+=("$(printf '%q' "$line")")
    done <<<"$1"
}

_hud_value() {
    case $1 in
        FILE) compopt -o filenames; local IFS=$'\n'; COMPREPLY+=($(compgen -f -- "$cur")) ;;
        FOLDER) compopt -o filenames; local IFS=$'\n'; COMPREPLY+=($(compgen -d -- "$cur")) ;;
        SOURCE | TARGET)
            compopt -o filenames
            local IFS=$'\n'
            COMPREPLY+=($(compgen -d -- "$cur") $(compgen -f -X '!*.@(py|json|jsonl)' -- "$cur"))
            ;;
        TASK) _hud_offer "$(_hud_tasks)" ;;
        IMAGE) _hud_offer "$(_hud_quick docker image ls --filter dangling=false --format '{{.Repository}}:{{.Tag}}')" ;;
        CONTAINER) _hud_offer "$(_hud_quick docker ps --format '{{.Names}}')" ;;
        RUNTIME) _hud_offer $'hud\nmodal' ;;
        SCOPE) _hud_offer $'read\nwrite\nadmin' ;;
        SHELL) _hud_offer $'bash\nzsh\nfish' ;;
        TEMPLATE) _hud_offer $'blank\ncoding\nbrowser\ngpu' ;;
    esac
}

# What may stand after the words so far.
_hud_node() {
    commands= flags= values= arguments=
    case $1 in
        '')
            commands='init serve task deploy sync env build platform login set project doctor cleanup completion client version'
            flags='--version -h --help'
            ;;
        'init')
            flags='-d --dir -p -t --preset --template -f --force --dry-run --list --json -h --help'
            values=' -d=FOLDER --dir=FOLDER -p=TEMPLATE -t=TEMPLATE --preset=TEMPLATE --template=TEMPLATE '
            arguments='NAME'
            ;;
        'serve')
            flags='-p --port --host --arg --watch --token --parked-ttl -v --verbose --json -h --help'
            values=' -p=PORT --port=PORT --host=HOST --arg=KEY=VALUE --token=TEXT --parked-ttl=SECONDS '
            arguments='TARGET'
            ;;
        'task')
            commands='list start grade run'
            flags='-h --help'
            ;;
        'task list')
            flags='-s --source -q --quiet --json -h --help'
            values=' -s=SOURCE --source=SOURCE '
            ;;
        'task start')
            flags='-s --source -u --url -a --args -o --out --image --container --run-arg --timeout --token --json -h --help'
            values=' -s=SOURCE --source=SOURCE -u=URL --url=URL -a=JSON --args=JSON -o=FILE --out=FILE --image=IMAGE --container=CONTAINER --run-arg=FLAG --timeout=SECONDS --token=TEXT '
            arguments='TASK'
            ;;
        'task grade')
            flags='-s --source -u --url -a --args --answer --answer-file -o --out --container --timeout --token --json -h --help'
            values=' -s=SOURCE --source=SOURCE -u=URL --url=URL -a=JSON --args=JSON --answer=TEXT --answer-file=FILE -o=FILE --out=FILE --container=CONTAINER --timeout=SECONDS --token=TEXT '
            arguments='TASK'
            ;;
        'task run')
            flags='-s --source -u --url -a --args --answer --answer-file -o --out --image --container --run-arg --timeout --token --json -h --help'
            values=' -s=SOURCE --source=SOURCE -u=URL --url=URL -a=JSON --args=JSON --answer=TEXT --answer-file=FILE -o=FILE --out=FILE --image=IMAGE --container=CONTAINER --run-arg=FLAG --timeout=SECONDS --token=TEXT '
            arguments='TASK'
            ;;
        'deploy')
            flags='-a --all --name -e --env --env-file --no-env --build-arg --secret --no-cache --project --registry-id --runtime --runtime-config --dry-run -y --yes -v --verbose --json -h --help'
            values=' --name=NAME -e=NAME=VALUE --env=NAME=VALUE --env-file=FILE --build-arg=NAME=VALUE --secret=SECRET --project=PROJECT --registry-id=ENVIRONMENT --runtime=RUNTIME --runtime-config=FILE '
            arguments='FOLDER'
            ;;
        'sync')
            commands='tasks env list history rollback'
            flags='-y --yes --dry-run --json -h --help'
            ;;
        'sync tasks')
            flags='--task --exclude -y --yes --dry-run --check --diff --force --prune --export --watch --link --project --json -h --help'
            values=' --task=SLUG --exclude=SLUG --export=FILE --project=PROJECT '
            arguments='TASKSET SOURCE'
            ;;
        'sync env')
            flags='--dry-run -y --yes --json -h --help'
            arguments='ENVIRONMENT FOLDER'
            ;;
        'sync list')
            flags='--search -q --quiet --json -h --help'
            values=' --search=TEXT '
            ;;
        'sync history')
            flags='--json -h --help'
            arguments='TASKSET'
            ;;
        'sync rollback')
            flags='-y --yes --json -h --help'
            arguments='TASKSET REVISION'
            ;;
        'env')
            commands='list show rollback'
            flags='-h --help'
            ;;
        'env list')
            flags='-q --quiet --json -h --help'
            ;;
        'env show')
            flags='--json -h --help'
            arguments='ENVIRONMENT'
            ;;
        'env rollback')
            flags='-y --yes --json -h --help'
            arguments='ENVIRONMENT VERSION'
            ;;
        'build')
            commands='list logs cancel'
            flags='-h --help'
            ;;
        'build list')
            flags='--env -n --limit -q --quiet --json -h --help'
            values=' --env=ENVIRONMENT -n=NUMBER --limit=NUMBER '
            ;;
        'build logs')
            flags='--follow --no-follow --json -h --help'
            arguments='BUILD'
            ;;
        'build cancel')
            flags='--json -h --help'
            arguments='BUILD'
            ;;
        'platform')
            commands='up down status logs backup restore gc key'
            flags='-h --help'
            ;;
        'platform up')
            flags='-p --port --host --data -d --detach --no-settings --url --database --blobs --registry --builds --build-timeout --build-memory --upload-limit --log-limit --free-disk --json -h --help'
            values=' -p=PORT --port=PORT --host=HOST --data=FOLDER --url=URL --database=URL --blobs=URL --registry=HOST/PREFIX --builds=NUMBER --build-timeout=SECONDS --build-memory=MB --upload-limit=MB --log-limit=MB --free-disk=MB '
            ;;
        'platform down')
            flags='--data --timeout --json -h --help'
            values=' --data=FOLDER --timeout=SECONDS '
            ;;
        'platform status')
            flags='--data --json -h --help'
            values=' --data=FOLDER '
            ;;
        'platform logs')
            flags='--data -n --lines -f --follow --json -h --help'
            values=' --data=FOLDER -n=NUMBER --lines=NUMBER '
            ;;
        'platform backup')
            flags='--data --json -h --help'
            values=' --data=FOLDER '
            arguments='FILE'
            ;;
        'platform restore')
            flags='--data -f --force --json -h --help'
            values=' --data=FOLDER '
            arguments='FILE'
            ;;
        'platform gc')
            flags='--data --dry-run --json -h --help'
            values=' --data=FOLDER '
            ;;
        'platform key')
            commands='create list revoke'
            flags='-h --help'
            ;;
        'platform key create')
            flags='--scope --data --json -h --help'
            values=' --scope=SCOPE --data=FOLDER '
            arguments='NAME'
            ;;
        'platform key list')
            flags='--data --all --json -h --help'
            values=' --data=FOLDER '
            ;;
        'platform key revoke')
            flags='--data --json -h --help'
            values=' --data=FOLDER '
            arguments='ID|NAME|PREFIX'
            ;;
        'login')
            flags='--url --no-browser -q --quiet --json -h --help'
            values=' --url=URL '
            ;;
        'set')
            flags='--json -h --help'
            arguments='KEY=VALUE'
            ;;
        'project')
            commands='list create use'
            flags='-h --help'
            ;;
        'project list')
            flags='-C --directory -q --quiet --json -h --help'
            values=' -C=FOLDER --directory=FOLDER '
            ;;
        'project create')
            flags='-d --description -q --quiet --json -h --help'
            values=' -d=TEXT --description=TEXT '
            arguments='NAME'
            ;;
        'project use')
            flags='-C --directory -q --quiet --json -h --help'
            values=' -C=FOLDER --directory=FOLDER '
            arguments='PROJECT'
            ;;
        'doctor')
            flags='--json -h --help'
            ;;
        'cleanup')
            flags='-y --yes --dry-run --json -h --help'
            ;;
        'completion')
            commands='show install'
            flags='-h --help'
            ;;
        'completion show')
            flags='--json -h --help'
            arguments='SHELL'
            ;;
        'completion install')
            flags='--json -h --help'
            arguments='SHELL'
            ;;
        'client')
            commands='info run'
            flags='-h --help'
            ;;
        'client info')
            flags='-u --url --timeout --token --json -h --help'
            values=' -u=URL --url=URL --timeout=SECONDS --token=TEXT '
            ;;
        'client run')
            flags='-u --url -a --args --answer --answer-file --timeout --token --json -h --help'
            values=' -u=URL --url=URL -a=JSON --args=JSON --answer=TEXT --answer-file=FILE --timeout=SECONDS --token=TEXT '
            arguments='TASK'
            ;;
        'version')
            flags='--json -h --help'
            ;;
    esac
}

# What the value of an option is; nothing when it takes none.
_hud_kind() {
    [[ $1 == -* && $values == *" ${1%%=*}="* ]] || return 0
    local rest=${values#*" ${1%%=*}="}
    printf '%s' "${rest%% *}"
}

_hud() {
    local cur words cword i path='' commands flags values arguments kind given=0 ended=''
    COMPREPLY=()
    shopt -q extglob || { shopt -s extglob; local restore=1; }
    _hud_words
    cur=${words[cword]}
    _hud_node ''
    for ((i = 1; i < cword; i++)); do
        kind=
        [[ -z $ended ]] && kind=$(_hud_kind "${words[i]}")
        if [[ -z $ended && ${words[i]} == -- ]]; then
            ended=1
        elif [[ -z $ended && ${words[i]} == -?* ]]; then
            if [[ -n $kind && ${words[i]} != *=* ]]; then
                ((++i))
                if ((i == cword)); then break; fi
                kind=
            else
                kind=
            fi
        elif [[ -n $commands ]]; then
            path="${path:+$path }${words[i]}"
            _hud_node "$path"
        else
            ((++given))
        fi
    done
    if [[ -n $kind ]]; then
        _hud_value "$kind"
    elif [[ -z $ended && $cur == --*=* ]]; then
        kind=$(_hud_kind "${cur%%=*}")
        cur=${cur#*=}
        [[ -n $kind ]] && _hud_value "$kind"
    elif [[ -z $ended && $cur == -* ]]; then
        COMPREPLY=($(compgen -W "$flags" -- "$cur"))
    elif [[ -n $commands ]]; then
        COMPREPLY=($(compgen -W "$commands" -- "$cur"))
    else
        set -- $arguments
        if ((given < $#)); then
            shift "$given"
            _hud_value "$1"
        fi
    fi
    # Readline replaces only what follows the last colon of the word.
    if [[ ${words[cword]} == *:* && $COMP_WORDBREAKS == *:* ]]; then
        local head=${cur%"${cur##*:}"}
        COMPREPLY=("${COMPREPLY[@]#"$head"}")
    fi
    [[ -n ${restore-} ]] && shopt -u extglob
    return 0
}

complete -F _hud hud

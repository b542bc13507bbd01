# fish completion for hud; made by `hud completion show fish`.

# Whether the words so far name exactly this command (or, without arguments, none yet).
function __hud_at
    set -l words (commandline -opc)
    set -l path
    for word in $words[2..-1]
        if string match -q -- '-*' $word
            break
        end
        set -a path $word
        if not contains -- $path[1] task completion client; or test (count $path) -eq 2
            break
        end
    end
    test "$path" = "$argv"
end

function __hud_quick
    if type -q timeout
        timeout 3 $argv 2>/dev/null </dev/null
    else
        $argv 2>/dev/null </dev/null
    end
end

# The value of an option that stands on the line, such as the source whose tasks are offered.
function __hud_given
    set -l words (commandline -opc)
    for i in (seq 2 (count $words))
        for name in $argv
            if test "$words[$i]" = $name; and test $i -lt (count $words)
                echo $words[(math $i + 1)]
                return
            end
            if string match -q -- "$name=*" $words[$i]
                string replace -- "$name=" '' $words[$i]
                return
            end
        end
    end
end

function __hud_tasks
    set -l container (__hud_given --container)
    set -l source (__hud_given --source -s)
    if test -n "$container"
        __hud_quick docker exec $container hud task list --quiet
    else if test -n "$source"
        __hud_quick hud task list --quiet --source=$source
    else
        __hud_quick hud task list --quiet
    end
end

function __hud_sources
    set -l token (commandline -ct | string replace -r -- '^--?[a-z-]+=' '')
    __fish_complete_directories $token
    for file in $token*.py $token*.json $token*.jsonl
        echo $file
    end
end

function __hud_images
    __hud_quick docker image ls --filter dangling=false --format '{{.Repository}}:{{.Tag}}'
end

function __hud_containers
    __hud_quick docker ps --format '{{.Names}}'
end

complete -c hud -f
complete -c hud -n '__hud_at' -a init -d 'Scaffold an environment that builds with plain docker build.'
complete -c hud -n '__hud_at' -a serve -d 'Serve an environment on a control channel.'
complete -c hud -n '__hud_at' -a task -d 'List, start and grade tasks.'
complete -c hud -n '__hud_at' -a doctor -d 'Say what is there, what is missing, and what to do about it.'
complete -c hud -n '__hud_at' -a cleanup -d 'List and remove what no living process owns.'
complete -c hud -n '__hud_at' -a completion -d 'Print or install shell completions.'
complete -c hud -n '__hud_at' -a client -d 'Older spellings of `hud task`.'
complete -c hud -n '__hud_at' -a version -d 'Print the version.'
complete -c hud -n '__hud_at' -l version -d 'Print the version.'
complete -c hud -n '__hud_at' -s h -l help -d 'Show this text.'
complete -c hud -n '__hud_at init' -s d -l dir -x -a '(__fish_complete_directories)' -d 'Where the folder is made.'
complete -c hud -n '__hud_at init' -s p -s t -l preset -l template -x -a 'blank coding browser gpu' -d 'What to start from [default: blank].'
complete -c hud -n '__hud_at init' -s f -l force -d 'Write into a folder that is not empty.'
complete -c hud -n '__hud_at init' -l dry-run -d 'List the files, write nothing.'
complete -c hud -n '__hud_at init' -l list -d 'List the templates.'
complete -c hud -n '__hud_at init' -l json -d 'Print one JSON document, errors included.'
complete -c hud -n '__hud_at init' -s h -l help -d 'Show this text.'
complete -c hud -n '__hud_at serve' -s p -l port -x -d '0 takes a free one (default: $HUD_SERVE_PORT, else 8765).'
complete -c hud -n '__hud_at serve' -l host -x -d 'Address to bind; 0.0.0.0 in an image.'
complete -c hud -n '__hud_at serve' -l arg -x -d 'Argument for a factory target; repeatable.'
complete -c hud -n '__hud_at serve' -l watch -d 'Load the source again when a file changes, between sessions.'
complete -c hud -n '__hud_at serve' -l token -x -d 'Ask every client for this token (default: $HUD_CHANNEL_TOKEN).'
complete -c hud -n '__hud_at serve' -l parked-ttl -x -d 'How long a started task waits for its grade.'
complete -c hud -n '__hud_at serve' -s v -l verbose -d 'Say more on stderr.'
complete -c hud -n '__hud_at serve' -l json -d 'Print an error as JSON; the readiness line stays as it is.'
complete -c hud -n '__hud_at serve' -s h -l help -d 'Show this text.'
complete -c hud -n '__hud_at serve' -a '(__hud_sources)'
complete -c hud -n '__hud_at task' -a list -d 'List the tasks of a source: slug, template id, arguments.'
complete -c hud -n '__hud_at task' -a start -d 'Start a task and print its prompt.'
complete -c hud -n '__hud_at task' -a grade -d 'Grade an answer and print the score.'
complete -c hud -n '__hud_at task' -a run -d 'Start a task, grade an answer, and print the score: start and grade in one go.'
complete -c hud -n '__hud_at task' -s h -l help -d 'Show this text.'
complete -c hud -n '__hud_at task list' -s s -l source -x -a '(__hud_sources)' -d 'Task rows: a .py file, a folder, a .json or .jsonl file.'
complete -c hud -n '__hud_at task list' -s q -l quiet -d 'Print slugs alone.'
complete -c hud -n '__hud_at task list' -l json -d 'Print one JSON document, errors included.'
complete -c hud -n '__hud_at task list' -s h -l help -d 'Show this text.'
complete -c hud -n '__hud_at task start' -s s -l source -x -a '(__hud_sources)' -d 'Task rows: a .py file, a folder, a .json or .jsonl file. Without --url, served for this one command.'
complete -c hud -n '__hud_at task start' -s u -l url -x -d 'Attach to a served environment: tcp://host:port, host:port or host.'
complete -c hud -n '__hud_at task start' -s a -l args -x -d 'The template\'s arguments, an object; replaces the row\'s.'
complete -c hud -n '__hud_at task start' -s o -l out -r -F -d 'Write the whole result to FILE, print nothing.'
complete -c hud -n '__hud_at task start' -l image -x -a '(__hud_images)' -d 'Use a fresh container of IMAGE (needs Docker).'
complete -c hud -n '__hud_at task start' -l container -x -a '(__hud_containers)' -d 'Use the running CONTAINER (needs Docker).'
complete -c hud -n '__hud_at task start' -l run-arg -x -d 'One word for `docker run` with --image, such as --run-arg=--gpus --run-arg=all; repeatable.'
complete -c hud -n '__hud_at task start' -l timeout -x -d 'How long to wait for the environment to answer (default: 10 implicitly, 60 for --url, 120 when it starts).'
complete -c hud -n '__hud_at task start' -l token -x -d 'The channel\'s shared token (default: $HUD_CHANNEL_TOKEN).'
complete -c hud -n '__hud_at task start' -l json -d 'Print one JSON document, errors included.'
complete -c hud -n '__hud_at task start' -s h -l help -d 'Show this text.'
complete -c hud -n '__hud_at task start' -a '(__hud_tasks)'
complete -c hud -n '__hud_at task grade' -s s -l source -x -a '(__hud_sources)' -d 'Task rows: a .py file, a folder, a .json or .jsonl file. Without --url, served for this one command.'
complete -c hud -n '__hud_at task grade' -s u -l url -x -d 'Attach to a served environment: tcp://host:port, host:port or host.'
complete -c hud -n '__hud_at task grade' -s a -l args -x -d 'The template\'s arguments, an object; replaces the row\'s.'
complete -c hud -n '__hud_at task grade' -l answer -x -d 'The answer to grade (default: empty).'
complete -c hud -n '__hud_at task grade' -l answer-file -r -F -d 'Read the answer from FILE, byte for byte; - is stdin.'
complete -c hud -n '__hud_at task grade' -s o -l out -r -F -d 'Write the whole result to FILE, print nothing.'
complete -c hud -n '__hud_at task grade' -l container -x -a '(__hud_containers)' -d 'Use the running CONTAINER (needs Docker).'
complete -c hud -n '__hud_at task grade' -l timeout -x -d 'How long to wait for the environment to answer (default: 10 implicitly, 60 for --url, 120 when it starts).'
complete -c hud -n '__hud_at task grade' -l token -x -d 'The channel\'s shared token (default: $HUD_CHANNEL_TOKEN).'
complete -c hud -n '__hud_at task grade' -l json -d 'Print one JSON document, errors included.'
complete -c hud -n '__hud_at task grade' -s h -l help -d 'Show this text.'
complete -c hud -n '__hud_at task grade' -a '(__hud_tasks)'
complete -c hud -n '__hud_at task run' -s s -l source -x -a '(__hud_sources)' -d 'Task rows: a .py file, a folder, a .json or .jsonl file. Without --url, served for this one command.'
complete -c hud -n '__hud_at task run' -s u -l url -x -d 'Attach to a served environment: tcp://host:port, host:port or host.'
complete -c hud -n '__hud_at task run' -s a -l args -x -d 'The template\'s arguments, an object; replaces the row\'s.'
complete -c hud -n '__hud_at task run' -l answer -x -d 'The answer to grade (default: empty).'
complete -c hud -n '__hud_at task run' -l answer-file -r -F -d 'Read the answer from FILE, byte for byte; - is stdin.'
complete -c hud -n '__hud_at task run' -s o -l out -r -F -d 'Write the whole result to FILE, print nothing.'
complete -c hud -n '__hud_at task run' -l image -x -a '(__hud_images)' -d 'Use a fresh container of IMAGE (needs Docker).'
complete -c hud -n '__hud_at task run' -l container -x -a '(__hud_containers)' -d 'Use the running CONTAINER (needs Docker).'
complete -c hud -n '__hud_at task run' -l run-arg -x -d 'One word for `docker run` with --image, such as --run-arg=--gpus --run-arg=all; repeatable.'
complete -c hud -n '__hud_at task run' -l timeout -x -d 'How long to wait for the environment to answer (default: 10 implicitly, 60 for --url, 120 when it starts).'
complete -c hud -n '__hud_at task run' -l token -x -d 'The channel\'s shared token (default: $HUD_CHANNEL_TOKEN).'
complete -c hud -n '__hud_at task run' -l json -d 'Print one JSON document, errors included.'
complete -c hud -n '__hud_at task run' -s h -l help -d 'Show this text.'
complete -c hud -n '__hud_at task run' -a '(__hud_tasks)'
complete -c hud -n '__hud_at doctor' -l json -d 'Print one JSON document, errors included.'
complete -c hud -n '__hud_at doctor' -s h -l help -d 'Show this text.'
complete -c hud -n '__hud_at cleanup' -s y -l yes -d 'Remove without asking.'
complete -c hud -n '__hud_at cleanup' -l dry-run -d 'List alone, remove nothing.'
complete -c hud -n '__hud_at cleanup' -l json -d 'Print one JSON document, errors included.'
complete -c hud -n '__hud_at cleanup' -s h -l help -d 'Show this text.'
complete -c hud -n '__hud_at completion' -a show -d 'Print the completion script of a shell.'
complete -c hud -n '__hud_at completion' -a install -d 'Install the completions for this user; doing it again changes nothing.'
complete -c hud -n '__hud_at completion' -s h -l help -d 'Show this text.'
complete -c hud -n '__hud_at completion show' -l json -d 'Print one JSON document, errors included.'
complete -c hud -n '__hud_at completion show' -s h -l help -d 'Show this text.'
complete -c hud -n '__hud_at completion show' -a 'bash zsh fish'
complete -c hud -n '__hud_at completion install' -l json -d 'Print one JSON document, errors included.'
complete -c hud -n '__hud_at completion install' -s h -l help -d 'Show this text.'
complete -c hud -n '__hud_at completion install' -a 'bash zsh fish'
complete -c hud -n '__hud_at client' -a info -d 'Show the identity, capabilities and tasks of a served environment.'
complete -c hud -n '__hud_at client' -a run -d 'The older spelling of `hud task run TASK --url URL`.'
complete -c hud -n '__hud_at client' -s h -l help -d 'Show this text.'
complete -c hud -n '__hud_at client info' -s u -l url -x -d 'Attach to a served environment: tcp://host:port, host:port or host.'
complete -c hud -n '__hud_at client info' -l timeout -x -d 'How long to wait for the environment to answer (default: 10 implicitly, 60 for --url, 120 when it starts).'
complete -c hud -n '__hud_at client info' -l token -x -d 'The channel\'s shared token (default: $HUD_CHANNEL_TOKEN).'
complete -c hud -n '__hud_at client info' -l json -d 'Print one JSON document, errors included.'
complete -c hud -n '__hud_at client info' -s h -l help -d 'Show this text.'
complete -c hud -n '__hud_at client run' -s u -l url -x -d 'Attach to a served environment: tcp://host:port, host:port or host.'
complete -c hud -n '__hud_at client run' -s a -l args -x -d 'The template\'s arguments, an object; replaces the row\'s.'
complete -c hud -n '__hud_at client run' -l answer -x -d 'The answer to grade (default: empty).'
complete -c hud -n '__hud_at client run' -l answer-file -r -F -d 'Read the answer from FILE, byte for byte; - is stdin.'
complete -c hud -n '__hud_at client run' -l timeout -x -d 'How long to wait for the environment to answer (default: 10 implicitly, 60 for --url, 120 when it starts).'
complete -c hud -n '__hud_at client run' -l token -x -d 'The channel\'s shared token (default: $HUD_CHANNEL_TOKEN).'
complete -c hud -n '__hud_at client run' -l json -d 'Print one JSON document, errors included.'
complete -c hud -n '__hud_at client run' -s h -l help -d 'Show this text.'
complete -c hud -n '__hud_at client run' -a '(__hud_tasks)'
complete -c hud -n '__hud_at version' -l json -d 'Print one JSON document, errors included.'
complete -c hud -n '__hud_at version' -s h -l help -d 'Show this text.'

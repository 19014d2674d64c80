# Written by pmw: pmw completions fish --install writes it anew.
function __pmw_complete
    set -l words (commandline -opc)
    set -l token (commandline -ct)
    set -l lines (_PMW_COMPLETE=fish $words[1] $words "$token" 2>/dev/null)
    if test "$lines[1]" = :files
        __fish_complete_path "$token"
    else if set -q lines[1]
        printf '%s\n' $lines
    end
end

complete --command pmw --no-files --arguments '(__pmw_complete)'

# Written by pmw: pmw completions bash --install writes it anew.
_pmw_completion() {
    local IFS=$'
'
    COMPREPLY=( $( env COMP_WORDS="${COMP_WORDS[*]}" \
                   COMP_CWORD=$COMP_CWORD \
                   _PMW_COMPLETE=complete_bash $1 ) )
    return 0
}

complete -o default -F _pmw_completion pmw

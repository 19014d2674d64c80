# Written by pmw: pmw completions bash --install writes it anew.
_pmw_completion() {
    mapfile -t COMPREPLY < <(_PMW_COMPLETE=bash "$1" "${COMP_LINE:0:COMP_POINT}" 2>/dev/null)
    if [[ ${COMPREPLY[0]} == :files ]]; then
        COMPREPLY=()
        compopt -o default
    elif [[ ${#COMPREPLY[@]} == 1 && ${COMPREPLY[0]} == *[/:=] ]]; then
        compopt -o nospace # it goes on
    fi
}

complete -F _pmw_completion pmw

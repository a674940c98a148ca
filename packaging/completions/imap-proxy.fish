# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_imap_proxy_global_optspecs
    string join \n config= h/help V/version
end

function __fish_imap_proxy_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_imap_proxy_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_imap_proxy_using_subcommand
    set -l cmd (__fish_imap_proxy_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c imap-proxy -n "__fish_imap_proxy_needs_command" -l config -d 'The config file' -r -F
complete -c imap-proxy -n "__fish_imap_proxy_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c imap-proxy -n "__fish_imap_proxy_needs_command" -s V -l version -d 'Print version'
complete -c imap-proxy -n "__fish_imap_proxy_needs_command" -f -a "check" -d 'Checks the config file, and the certificates and keys that it names, and lists its services'
complete -c imap-proxy -n "__fish_imap_proxy_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c imap-proxy -n "__fish_imap_proxy_using_subcommand check" -l running -d 'Checks, too, that every address can be listened on that process PID does not listen on already. Made for `ExecReload`= of the unit' -r
complete -c imap-proxy -n "__fish_imap_proxy_using_subcommand check" -l config -d 'The config file' -r -F
complete -c imap-proxy -n "__fish_imap_proxy_using_subcommand check" -s h -l help -d 'Print help'
complete -c imap-proxy -n "__fish_imap_proxy_using_subcommand help; and not __fish_seen_subcommand_from check help" -f -a "check" -d 'Checks the config file, and the certificates and keys that it names, and lists its services'
complete -c imap-proxy -n "__fish_imap_proxy_using_subcommand help; and not __fish_seen_subcommand_from check help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'

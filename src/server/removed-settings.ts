type Environment = Readonly<Record<string, string | undefined>>

const FIXED = (limit: string): string =>
  `is not a setting any more: the limit is ${limit}. Remove it`

/** Settings of earlier versions, with what a person should do about each. */
const REMOVED: Readonly<Record<string, string>> = {
  RETRAI_HOST: 'is not a setting any more: write RETRAI_LISTEN=HOST:PORT, or use --host',
  RETRAI_PORT: 'is not a setting any more: write RETRAI_LISTEN=HOST:PORT, or use --port',
  RETRAI_MAX_SUBAGENTS: FIXED('20 sub-agents of one run'),
  RETRAI_COMMAND_OUTPUT_MIB: FIXED('512 MiB of output of a command'),
  RETRAI_COMMAND_PROCESSES: FIXED('512 processes of a command'),
  RETRAI_COMMANDS_MEMORY_MIB: FIXED('three quarters of the memory for all commands'),
  RETRAI_COMMANDS_PROCESSES: FIXED('4096 processes of all commands'),
  RETRAI_RUN_HOME_MIB: FIXED('4096 MiB in the home of a run'),
  RETRAI_MIN_FREE_DISK_MIB: FIXED('512 MiB of free disk space'),
  RETRAI_MAX_SOCKETS: FIXED('10000 open WebSockets'),
  RETRAI_MAX_SOCKETS_PER_CLIENT: FIXED('5000 open WebSockets from one address'),
  RETRAI_MAX_CONNECTIONS: FIXED('12000 open connections'),
  RETRAI_MAX_CONNECTIONS_PER_CLIENT: FIXED('6000 open connections from one address'),
  RETRAI_SOCKET_STALL_SECONDS: FIXED('60 seconds'),
}

/** A sentence about each removed setting in an environment: a server that ignored one would not do what a person relies on. */
export const removedSettings = (env: Environment): string[] =>
  Object.entries(REMOVED)
    .filter(([name]) => (env[name]?.trim() ?? '') !== '')
    .map(([name, advice]) => `${name} ${advice}.`)

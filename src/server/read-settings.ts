import { err, ok, type Result } from 'neverthrow'
import type * as z from 'zod'
import { KEY_VARIABLES } from '../models/providers.ts'
import { defaultDataDir } from './data-folder.ts'
import { Settings } from './settings.ts'

/** What flags of a command say in place of variables. */
type Flags = Partial<Record<'host' | 'port' | 'dataDir' | 'store' | 'server', string>>
type Environment = Readonly<Record<string, string | undefined>>

/** The variables in whose place a flag may be given, with what people write for that. */
const FLAGS: Readonly<Record<string, string>> = {
  RETRAI_LISTEN: '--host or --port',
  RETRAI_DATA_DIR: '--data-dir',
  EVENTSTORE_URL: '--store',
  RETRAI_SERVER: '--server',
}

const VENDOR_KEYS: readonly string[] = KEY_VARIABLES

/**
 * All settings of retrAI, each with its variables: the keys of the vendors are one setting, the key of a bucket is one, and the
 * proxies are one.
 */
export function allSettings(): readonly (readonly string[])[] {
  const names = Object.keys(Settings.shape)
  const ofBucket = names.filter((name) => name.startsWith('AWS_'))
  const others = names.filter((name) => !VENDOR_KEYS.includes(name) && !ofBucket.includes(name))
  return [
    ...others.map((name) => [name]),
    ofBucket,
    VENDOR_KEYS,
    ['HTTPS_PROXY', 'HTTP_PROXY', 'NO_PROXY'],
    ['RETRAI_SERVER'],
  ]
}

/** Reads the settings of a server. The error is a text for people that names every setting that is not valid. */
export function readSettings(flags: Flags, env: Environment): Result<Settings, string> {
  const removed = removedSettings(env)
  return removed.length > 0 ? err(removed.join('\n')) : parseSettings(Settings, flags, env)
}

/**
 * The variables whose names begin like those of settings, but that are none: they have no effect.
 * RETRAI_SERVER is a setting of the commands that talk to a server.
 */
export const unknownSettings = (
  { RETRAI_COMMAND_ENV: forCommands = [] }: Pick<Settings, 'RETRAI_COMMAND_ENV'>,
  env: Environment,
): string[] => {
  const known = new Set([...allSettings().flat(), ...forCommands])
  return Object.keys(env).filter((name) => name.startsWith('RETRAI_') && !known.has(name))
}

const StorePlace = Settings.pick({ RETRAI_DATA_DIR: true, EVENTSTORE_URL: true })
/** Where the log of a server is. */
export type StorePlace = Readonly<z.infer<typeof StorePlace>>

/** Reads where the log of a server is, even if its other settings are not valid. */
export const readStorePlace = (
  flags: Pick<Flags, 'dataDir' | 'store'>,
  env: Environment,
): Result<StorePlace, string> => parseSettings(StorePlace, flags, env)

const ArtifactSettings = Settings.pick({
  RETRAI_ARTIFACTS: true,
  AWS_ACCESS_KEY_ID: true,
  AWS_SECRET_ACCESS_KEY: true,
  AWS_SESSION_TOKEN: true,
  AWS_REGION: true,
})
/** Where artifacts are kept, and the key of a bucket. */
export type ArtifactSettings = Readonly<z.infer<typeof ArtifactSettings>>

/** Reads where the artifacts of a server are, even if its other settings are not valid. */
export const readArtifactSettings = (env: Environment): Result<ArtifactSettings, string> =>
  parseSettings(ArtifactSettings, {}, env)

/**
 * Reads the settings of `schema` from flags, which win, and the environment. An empty variable counts as not set. The
 * error is a text for people that names every setting that is not valid.
 */
export function parseSettings<S extends z.ZodObject>(
  schema: S,
  flags: Flags,
  env: Environment,
): Result<z.infer<S>, string> {
  const ofVariable = (name: string): string | undefined => env[name]?.trim() || undefined
  const ofFlags: Environment = {
    RETRAI_LISTEN: addressOf(flags, ofVariable('RETRAI_LISTEN')),
    RETRAI_DATA_DIR: flags.dataDir,
    EVENTSTORE_URL: flags.store,
    RETRAI_SERVER: flags.server,
  }
  const given: Record<string, string> = {}
  for (const name of Object.keys(schema.shape)) {
    const value = ofFlags[name] ?? ofVariable(name)
    if (value !== undefined) given[name] = value
    else if (name === 'RETRAI_DATA_DIR') given[name] = defaultDataDir(env)
  }
  const parsed = schema.safeParse(given)
  if (parsed.success) return ok(parsed.data)
  const problems = parsed.error.issues.map(({ path, message }) => {
    const name = String(path[0])
    const flag = FLAGS[name]
    return `  ${flag === undefined ? name : `${flag} (${name})`}: ${message}`
  })
  return err(`These settings are not valid:\n${problems.join('\n')}`)
}

/** Puts `--host` and `--port` in the place of those parts of the address. */
function addressOf({ host, port }: Flags, variable = '127.0.0.1:8000'): string | undefined {
  if (host === undefined && port === undefined) return undefined
  const [, before = '127.0.0.1', after = '8000'] = /^(?!unix:)(.*):(\d+)$/.exec(variable) ?? []
  const name = host?.includes(':') ? `[${host}]` : (host ?? before)
  return `${name}:${port ?? after}`
}

const FIXED = (limit: string): string =>
  `is not a setting any more: the limit is ${limit}. Remove it`

/** Settings of earlier versions, with what a person should do about each. */
const REMOVED: Readonly<Record<string, string>> = {
  RETRAI_HEALTH_PORT:
    'is not a setting any more: let the probe ask GET /health/live at the port of the server, with a time limit. Remove it',
  RETRAI_HOST: 'is not a setting any more: write RETRAI_LISTEN=HOST:PORT, or use --host',
  RETRAI_PORT: 'is not a setting any more: write RETRAI_LISTEN=HOST:PORT, or use --port',
  RETRAI_MAX_SUBAGENTS: FIXED('20 sub-agents of one run'),
  RETRAI_COMMAND_OUTPUT_MIB: FIXED('128 MiB of output of a command'),
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
const removedSettings = (env: Environment): string[] =>
  Object.entries(REMOVED)
    .filter(([name]) => (env[name]?.trim() ?? '') !== '')
    .map(([name, advice]) => `${name} ${advice}.`)

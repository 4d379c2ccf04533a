import { err, ok, type Result } from 'neverthrow'
import type * as z from 'zod'
import { defaultDataDir } from './data-folder.ts'
import { removedSettings } from './removed-settings.ts'
import { Settings } from './settings.ts'

/** The settings that a flag of a command can set, too. */
const FLAG_OF: Readonly<Record<string, keyof Flags>> = {
  RETRAI_HEALTH_PORT: 'healthPort',
  RETRAI_LISTEN: 'listen',
  RETRAI_DATA_DIR: 'dataDir',
  EVENTSTORE_URL: 'store',
  RETRAI_LOG_LEVEL: 'logLevel',
  RETRAI_SERVER: 'server',
}
type Flags = Partial<
  Record<
    'host' | 'port' | 'healthPort' | 'listen' | 'dataDir' | 'store' | 'logLevel' | 'server',
    string
  >
>
type Environment = Readonly<Record<string, string | undefined>>

/** Reads the settings of a server. The error is a text for people that names every setting that is not valid. */
export function readSettings(flags: Flags, env: Environment): Result<Settings, string> {
  const removed = removedSettings(env)
  if (removed.length > 0) return err(removed.join('\n'))
  return parseSettings(Settings, withAddress(withDataDir(flags, env), env), env)
}

/** Puts `--host` and `--port` in the place of those parts of the address. */
function withAddress({ host, port, ...flags }: Flags, env: Environment): Flags {
  if (host === undefined && port === undefined) return flags
  const whole = flags.listen ?? (env.RETRAI_LISTEN?.trim() || '127.0.0.1:8000')
  const [, before = '127.0.0.1', after = '8000'] = /^(?!unix:)(.*):(\d+)$/.exec(whole) ?? []
  const name = host?.includes(':') ? `[${host}]` : (host ?? before)
  return { ...flags, listen: `${name}:${port ?? after}` }
}

/**
 * The variables whose names begin like those of settings, but that are none: they have no effect.
 * RETRAI_SERVER is a setting of the commands that talk to a server.
 */
export const unknownSettings = (
  { RETRAI_COMMAND_ENV: forCommands = [] }: Pick<Settings, 'RETRAI_COMMAND_ENV'>,
  env: Environment,
): string[] => {
  const known = new Set([...Object.keys(Settings.shape), 'RETRAI_SERVER', ...forCommands])
  return Object.keys(env).filter((name) => name.startsWith('RETRAI_') && !known.has(name))
}

const StorePlace = Settings.pick({ RETRAI_DATA_DIR: true, EVENTSTORE_URL: true })

/** Reads where the log of a server is, even if its other settings are not valid. */
export const readStorePlace = (
  flags: Pick<Flags, 'dataDir' | 'store'>,
  env: Environment,
): Result<z.infer<typeof StorePlace>, string> =>
  parseSettings(StorePlace, withDataDir(flags, env), env)

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

const withDataDir = (flags: Flags, env: Environment): Flags => ({
  ...flags,
  dataDir: flags.dataDir ?? (env.RETRAI_DATA_DIR?.trim() || defaultDataDir(env)),
})

/**
 * Reads the settings of `schema` from flags, which win, and the environment. An empty variable counts as not set. The
 * error is a text for people that names every setting that is not valid.
 */
export function parseSettings<S extends z.ZodObject>(
  schema: S,
  flags: Flags,
  env: Environment,
): Result<z.infer<S>, string> {
  const given: Record<string, string> = {}
  for (const name of Object.keys(schema.shape)) {
    const flag = FLAG_OF[name]
    const value = (flag && flags[flag]) ?? (env[name]?.trim() || undefined)
    if (value !== undefined) given[name] = value
  }
  const parsed = schema.safeParse(given)
  if (parsed.success) return ok(parsed.data)
  const problems = parsed.error.issues.map(({ path, message }) => {
    const name = String(path[0])
    const flag = FLAG_OF[name]?.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)
    const flags = name === 'RETRAI_LISTEN' ? 'listen, --host or --port' : flag
    return `  ${flags === undefined ? name : `--${flags} (${name})`}: ${message}`
  })
  return err(`These settings are not valid:\n${problems.join('\n')}`)
}

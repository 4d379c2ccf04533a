import { randomUUID } from 'node:crypto'
import { closeSync, existsSync, openSync, readFileSync, writeSync } from 'node:fs'
import { mkdir, readFile, stat, writeFile } from 'node:fs/promises'
import { homedir, hostname } from 'node:os'
import { basename, dirname, isAbsolute, join, resolve } from 'node:path'
import { ok, Result, ResultAsync, safeTry } from 'neverthrow'
import * as z from 'zod'
import { type Keyring, openKeyring } from '../checkpoints/keyring.ts'
import { MAX_POOL_NAME, PoolName } from '../domain/records.ts'
import { firstIssueOf, messageOf } from '../lib/message-of.ts'
import { sha256 } from '../lib/sha256.ts'
import { writeDurably } from '../lib/write-durably.ts'
import type { Settings } from './settings.ts'

/** The default of earlier versions: in the folder where the server is started, which may be a project. */
export const formerDataDir = (): string => resolve('.retrai')

/**
 * The data folder of a server that is started in the working folder. It is in the user's data folder, so that no
 * project contains it, and it is named after the working folder, so that each has its own. A `.retrai` of an earlier
 * version is used only until this folder exists: after that, a run could have made it.
 */
export function defaultDataDir(env: Readonly<Record<string, string | undefined>>): string {
  const own = newDataDir(env)
  const formerExists = ['log.sqlite', 'keys', 'server-id'].some((name) =>
    existsSync(join(formerDataDir(), name)),
  )
  return formerExists && !existsSync(own) ? formerDataDir() : own
}

/** Where retrAI keeps what belongs to a user. */
function ownFolder(env: Readonly<Record<string, string | undefined>>): string {
  const given = env.XDG_DATA_HOME ?? ''
  return join(isAbsolute(given) ? given : join(homedir(), '.local', 'share'), 'retrai')
}

/** The socket where commands look for a server. */
export const defaultSocket = (env: Readonly<Record<string, string | undefined>>): string =>
  join(ownFolder(env), 'server.sock')

/** Where to move a `.retrai` of the working folder. */
export function newDataDir(env: Readonly<Record<string, string | undefined>>): string {
  const folder = process.cwd()
  const hash = sha256(folder).slice(0, 8)
  const name = basename(folder).replace(/[^\w.-]+/g, '-')
  return join(ownFolder(env), [name, hash].filter(Boolean).join('-'))
}

/** Makes the folder, for this user alone, unless it exists. The error is a text for people, with advice. */
export function makeDataFolder(folder: string): ResultAsync<void, string> {
  return ResultAsync.fromPromise(
    make(folder),
    (cause) => `The data folder ${folder} cannot be made: ${messageOf(cause)}. Choose another one.`,
  )
}

/**
 * Makes it and the folders above it. With `recursive`, Node would retry for ever in /proc, where no folder can be made,
 * and report no error for a read-only disk.
 */
async function make(folder: string): Promise<void> {
  const above = dirname(folder)
  try {
    await makeOne(folder)
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== 'ENOENT' || above === folder) throw cause
    await make(above)
    await makeOne(folder)
  }
}

async function makeOne(folder: string): Promise<void> {
  try {
    await mkdir(folder, { mode: 0o700 })
  } catch (cause) {
    const existing = await stat(folder).catch(() => null)
    if (!existing?.isDirectory()) throw cause
  }
}

/** The identity of a server, which stays through all its restarts. */
export type Identity = {
  readonly keyring: Keyring
  readonly serverId: string
  /** Gives the server another id, for the next start, too. The error is a text for people. */
  readonly renewServerId: () => ResultAsync<string, string>
  /** Null if the runs of this server may be worked on anywhere: only servers that share a log need pools. */
  readonly pool: string | null
}

/** Makes the data folder at the first start, and in it the identity of its server. The error is a text for people. */
export async function openIdentity({
  RETRAI_DATA_DIR: dataDir,
  RETRAI_POOL: chosen,
  EVENTSTORE_URL,
}: Settings): Promise<Result<Identity, string>> {
  const idFile = join(dataDir, 'server-id')
  const renewServerId = (): ResultAsync<string, string> => {
    const id = randomUUID()
    return ResultAsync.fromPromise(writeDurably(idFile, `${id}\n`), messageOf).map(() => id)
  }
  return safeTry(async function* () {
    yield* makeDataFolder(dataDir)
    const opened = openKeyring(join(dataDir, 'keys'), () => new Date())
    const keyring = yield* opened.mapErr(({ message }) => message)
    const serverId = yield* kept(idFile, z.uuid('it does not hold a server id'), randomUUID)
    const isShared = chosen === undefined && EVENTSTORE_URL !== undefined
    const pool = isShared ? yield* ensurePool(join(dataDir, 'pool'), hostname()) : (chosen ?? null)
    return ok({ keyring, serverId, renewServerId, pool })
  })
}

/**
 * The pool of the server that has this data folder, if no setting names one: the name of the machine at the first
 * start. A replaced container gets another host name, and must still find its runs. The error is a text for people.
 */
export const ensurePool = (file: string, host: string): ResultAsync<string, string> =>
  kept(file, PoolName, () => host.replace(/[^\w.:-]/g, '-').slice(0, MAX_POOL_NAME) || 'localhost')

/** The text in a file, which is made if it is missing. */
function kept(
  file: string,
  schema: z.ZodType<string>,
  make: () => string,
): ResultAsync<string, string> {
  const readOrCreate = async (): Promise<string> => {
    const known = existsSync(file) ? (await readFile(file, 'utf8')).trim() : ''
    // A crash may have left it empty.
    if (known !== '') return schema.parse(known)
    const value = make()
    await writeFile(file, `${value}\n`)
    return value
  }
  return ResultAsync.fromPromise(readOrCreate(), (cause) => {
    const why = cause instanceof z.ZodError ? firstIssueOf(cause) : messageOf(cause)
    return `${file} cannot be used (${why}): give the server write access to it, or delete it.`
  })
}

/** Which processes with this data folder were stopped, and did not crash. */
type CleanStops = {
  /** Their claimants. Any other process crashed. */
  readonly stopped: ReadonlySet<string>
  /** Records that this process is being stopped. To be called once. The error is a text for people. */
  note(claimant: string): Result<void, string>
}

/** Keeps the file open: a process that is stopped may have no file descriptor left to open it with. */
export function openCleanStops(file: string): CleanStops {
  const opened = Result.fromThrowable(openSync, messageOf)(file, 'a+')
  const read = Result.fromThrowable((fd: number) => readFileSync(fd, 'utf8'), messageOf)
  const append = Result.fromThrowable((fd: number, claimant: string) => {
    writeSync(fd, `${claimant}\n`)
    closeSync(fd)
  }, messageOf)
  return {
    stopped: new Set(opened.andThen(read).unwrapOr('').split('\n').filter(Boolean)),
    note: (claimant) => opened.andThen((fd) => append(fd, claimant)),
  }
}

import { chown, lstat, mkdir, mkdtemp, readFile, realpath, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { err, ok, type Result } from 'neverthrow'
import { realPathOf } from '../lib/paths.ts'
import { removeFolder } from '../lib/remove-folder.ts'
import { sha256 } from '../lib/sha256.ts'
import { PROXY_FOLDER } from './namespaces.ts'
import { networkProblem, RESOLV_CONF } from './network/whole-network.ts'
import {
  ACCOUNTS,
  isRoot,
  OWN_ID,
  PROGRAMS,
  type Programs,
  placesIn,
  type Sandbox,
} from './sandbox.ts'
import { seccompProgram } from './seccomp.ts'
import { findProgram, toolChains } from './tool-chains.ts'

/** Below the data folder: homes and temporary files of runs. */
export const FOLDER = 'sandboxes'
/** In it, the home and the temporary files of a trial. */
const PROBE = 'probe'
/** A file that no command may see: a trial tries to read it. */
const SECRET = 'secret'
/** The filter of system calls for setpriv, which reads a file. */
const FILTER = 'filter-landlock'
/** What is kept in that folder, beside what belongs to a run. */
export const KEPT: ReadonlySet<string> = new Set([
  SECRET,
  PROXY_FOLDER,
  RESOLV_CONF.name,
  ...ACCOUNTS.map(({ name }) => name),
  FILTER,
])
const NOBODY = 65_534
export type TrialOptions = {
  readonly runner: Trials
  readonly dataDir: string
  readonly env: Readonly<Record<string, string | undefined>>
  /** More folders that commands may read. */
  readonly toolPaths: readonly string[]
  /** Where artifacts are kept, if that is a folder of its own: no command sees it. */
  readonly artifacts?: string
}

const LAUNCHERS = { namespaces: 'bwrap', landlock: 'setpriv' } as const

/** A level that works here. */
export type Working = {
  /** The sandbox of a command, without what belongs to the command. */
  readonly base: Sandbox
  readonly fullNetworkProblem: string | null
  /** Why commands in a project of root are root too, as a sentence for people; null if they are not. */
  readonly ownUserProblem: string | null
}

/** Makes what every command at a level has in common, and runs a command as a trial. The error is a part of a sentence. */
export async function trySandbox(
  level: Sandbox['level'],
  { runner, env, toolPaths, dataDir: named, artifacts }: TrialOptions,
): Promise<Result<Working, string>> {
  if (process.platform !== 'linux') return err('it exists only on Linux')
  const launcher = findProgram(LAUNCHERS[level], env.PATH)
  // Where administrators have their programs, which are not on the PATH of every user.
  const path = `${env.PATH ?? ''}:/usr/sbin:/sbin`
  const programs: Programs = Object.fromEntries(
    PROGRAMS.flatMap((name) => {
      const found = findProgram(name, path)
      return found === null ? [] : [[name, found]]
    }),
  )
  if (launcher === null) return err('its program is not installed')
  if (isRoot() && programs.setpriv === undefined) {
    return err('setpriv of util-linux is not installed')
  }
  const dataDir = await realpath(named)
  const inside = join(dataDir, FOLDER)
  await mkdir(inside, { recursive: true, mode: 0o700 })
  const secret = join(inside, SECRET)
  await writeFile(secret, '')
  const folder = level !== 'namespaces' && isRoot() ? await folderForUsers(dataDir) : inside
  const filter = join(folder, FILTER)
  if (level === 'landlock')
    await writeFile(filter, seccompProgram({ network: false }) ?? '', { mode: 0o644 })
  await writeFile(join(folder, RESOLV_CONF.name), RESOLV_CONF.text, { mode: 0o644 })
  const kept = artifacts === undefined ? [] : [realPathOf(artifacts), artifacts]
  const hidden = [...new Set([dataDir, named, ...kept])]
  const sandbox: Sandbox = {
    level,
    launcher,
    programs,
    filter,
    hidden,
    folder,
    tools: toolChains(env, toolPaths, hidden),
    project: '/',
    known: null,
    copy: null,
    own: placesIn(join(folder, PROBE), false),
    readable: [],
    userHome: env.HOME ?? '',
    checkHome: null,
    layers: false,
    network: 'none',
    proxy: null,
    hasNetwork: false,
    enter: [],
    ownUser: false,
  }
  const attempt: Attempt = (of, owner = null) =>
    probe(runner, { ...sandbox, ...of }, { secret, owner })
  const isContained = level === 'namespaces'
  const hasRights = isRoot() && isContained
  const mayOwn = hasRights && programs.mount !== undefined && programs.unshare !== undefined
  if (mayOwn) await writeAccounts(folder)
  const users: number[] = []
  // Null for the server's user: commands of a root server run as the owner of the project.
  for (const owner of isRoot() ? [null, NOBODY] : [null]) {
    const user = await attempt({ ownUser: mayOwn }, owner)
    if (user.isErr()) return err(user.error)
    users.push(user.value)
  }
  const ownUser = users.includes(OWN_ID)
  const layers = isContained && (await canLayer({ ...sandbox, ownUser }, attempt))
  return ok({
    base: { ...sandbox, ownUser, layers },
    fullNetworkProblem: networkProblem(programs),
    ownUserProblem: hasRights && !ownUser ? AS_ROOT : null,
  })
}

/** Tries a command, perhaps in a project of this owner: the id of its user, or why it did not work, as a part of a sentence. */
type Attempt = (of: Partial<Sandbox>, owner?: number | null) => Promise<Result<number, string>>

/** Writes the accounts of the machine with that of the user of its own. */
async function writeAccounts(folder: string): Promise<void> {
  for (const { path, name, line } of ACCOUNTS) {
    const accounts = await readFile(path, 'utf8').catch(() => '')
    await writeFile(join(folder, name), `${accounts.trimEnd()}\n${line}\n`, { mode: 0o644 })
  }
}

/** Whether a home can be shown below a layer: that needs bubblewrap 0.11, and a file system that the kernel can layer. */
async function canLayer({ folder, ownUser }: Sandbox, attempt: Attempt): Promise<boolean> {
  const at = (name: string): string => join(folder, PROBE, name)
  const checkHome = { home: at('home'), layer: { changes: at('changes'), work: at('work') } }
  for (const name of ['home', 'changes', 'work']) await mkdir(at(name), { recursive: true })
  const owner = isRoot() && !ownUser ? NOBODY : null
  const user = ownUser ? OWN_ID : owner
  if (user !== null) await chown(checkHome.home, user, user)
  return (await attempt({ ownUser, own: null, checkHome }, owner)).isOk()
}

const AS_ROOT =
  'In a project that belongs to root, commands run as root without capabilities, because mount and unshare of util-linux 2.39 or a file system that maps ids are missing.'

/**
 * If commands run as the owner of the project and share the file system of a root server, they cannot pass through the
 * data folder to their home. This folder lets them pass, and shows no names.
 */
async function folderForUsers(dataDir: string): Promise<string> {
  const folder = join('/var/tmp', `retrai-${sha256(dataDir).slice(0, 16)}`)
  await mkdir(folder, { mode: 0o711 }).catch(() => {})
  const { uid, mode } = await lstat(folder)
  if (uid !== 0 || (mode & 0o170_777) !== 0o040_711) {
    throw new Error(`${folder} is not what this server has made. Remove it`)
  }
  return folder
}

/** How a trial ended, and what it printed. */
export type Tried = {
  /** `exited`: by itself; otherwise why not, in the words of the runner. */
  readonly end: string
  readonly message?: string
  readonly stdout: string
  readonly stderr: string
}

/** Runs shell scripts in the project of a sandbox, with small limits. */
type Trials = {
  readonly try: (sandbox: Sandbox, script: string, args: readonly string[]) => Promise<Tried>
}

/** Reports what an isolated command can do, with nothing but a shell; `$1` is a file that it must not be able to read. */
const SCRIPT = `
while read -r name value _; do
  case $name in Uid:|CapEff:|NoNewPrivs:|Seccomp:) echo "$name $value" ;; esac
done </proc/self/status
(: <"$1") 2>/dev/null && echo 'reads the data folder'
(: >>/proc/sys/kernel/core_pattern) 2>/dev/null && echo 'writes core_pattern'
(: >>/etc/passwd) 2>/dev/null && echo 'writes /etc'
(: >written) 2>/dev/null && echo 'writes the project'
while read -r name rest; do case $name in *:) echo "network $name" ;; esac; done </proc/net/dev
set -- /proc/[0-9]*
[ $# -lt 8 ] && echo 'is alone'
:
`
const EVERYWHERE = ['CapEff: 0000000000000000', 'NoNewPrivs: 1', 'Seccomp: 2', 'writes the project']
const ALONE = ['network lo:', 'is alone']

/**
 * Tries a level by running a command at it. The id of its user if it holds, else why not, as a part of a sentence.
 * @param sandbox of a command; its project is replaced by a folder made for this
 * @param on `secret` is a file of the server; `owner` is who owns the project, null for the server's user
 */
async function probe(
  runner: Trials,
  sandbox: Sandbox,
  { secret, owner }: { readonly secret: string; readonly owner: number | null },
): Promise<Result<number, string>> {
  const project = await mkdtemp(join(tmpdir(), 'retrai-probe-'))
  try {
    if (owner !== null) await chown(project, owner, owner)
    const { end, message, stdout, stderr } = await runner.try({ ...sandbox, project }, SCRIPT, [
      secret,
    ])
    if (end === 'timed_out') return err('a trial took too long')
    if (end !== 'exited' || stdout === '') {
      return err(stderr.trim().split('\n')[0] || message || `a trial ended with ${end}`)
    }
    const found = stdout.trim().split('\n')
    const uids =
      owner === null ? [process.getuid?.(), ...(sandbox.ownUser ? [OWN_ID] : [])] : [owner]
    const uid = uids.find((one) => found.includes(`Uid: ${one}`)) ?? uids[0] ?? 0
    const everywhere = [`Uid: ${uid}`, ...EVERYWHERE]
    const wanted = sandbox.level === 'namespaces' ? [...everywhere, ...ALONE] : everywhere
    const missing = wanted.filter((line) => !found.includes(line))
    // Where a command shares the namespaces of the server, their networks and processes say nothing.
    const isShared = (line: string): boolean =>
      sandbox.level !== 'namespaces' && (line.startsWith('network ') || ALONE.includes(line))
    const extra = found.filter((line) => !wanted.includes(line) && !isShared(line))
    if (missing.length + extra.length === 0) return ok(uid)
    const wrong = [...missing.map((line) => `no "${line}"`), ...extra.map((line) => `"${line}"`)]
    return err(`a trial found ${wrong.join(', ')}`)
  } finally {
    for (const path of [project, join(sandbox.folder, PROBE)]) await removeFolder(path)
  }
}

import { randomUUID } from 'node:crypto'
import { closeSync, fchmodSync, openSync, unlinkSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { messageOf, throwIfShort } from '../lib/message-of.ts'
import {
  type ContainedCommand,
  commandScript,
  howToRun,
  prelude,
  startForwarder,
  withoutNul,
} from './container-shell.ts'
import { addMounts, Mounts } from './mounts.ts'
import { type Repository, repositoryAround, SandboxError } from './project-folder.ts'
import {
  EMPTY_HOME,
  EMPTY_TMP,
  type OpenedProject,
  openProject,
  type PolicyFacts,
  policyHash,
  prepareFolders,
  programIn,
  rightsOf,
  type Sandbox,
  unique,
} from './sandbox.ts'
import { seccompProgram } from './seccomp.ts'
import { hostSockets, systemArguments } from './system.ts'

/** The descriptors of a container that are not mounts, beside those of its gate. */
export const STATUS_FD = 4
const SECCOMP_FD = 5
const VARIABLES_FD = 7

const FILTER = seccompProgram({ network: true })

/** A container that can be made. */
export type Container = {
  /** The command line that starts bwrap. */
  readonly line: readonly string[]
  /** The filter of system calls, the command, its variables, and the mounts: to be passed from `SECCOMP_FD` on. */
  readonly descriptors: readonly number[]
  /** What the command may see and do. */
  readonly facts: PolicyFacts
}

/**
 * Prepares the container of a command. Throws a `SandboxError` if the project is not what it was. Close its descriptors.
 * @param env the whole environment of the command
 */
export function container(
  sandbox: Sandbox,
  env: Readonly<Record<string, string>>,
  command: ContainedCommand,
): Container {
  const opened: number[] = []
  const project = openProject(sandbox)
  const mounts = new Mounts()
  try {
    prepareFolders(sandbox, project.user)
    const repository = repositoryAround(project.real, sandbox)
    const facts = mounted(mounts, sandbox, project, repository)
    openFiles(sandbox, command, { ...gitVariables(repository, project.user), ...env }, opened)
    const line = commandLine(sandbox, project.user, mounts.args)
    return { line, descriptors: [...opened, ...mounts.descriptors], facts }
  } catch (cause) {
    closeAll([project.descriptor, ...opened, ...mounts.descriptors])
    throw cause
  }
}

/** What a command in such a container may see and do. */
export function factsOfContainer(sandbox: Sandbox): PolicyFacts {
  const project = openProject(sandbox)
  const mounts = new Mounts()
  try {
    return mounted(mounts, sandbox, project, repositoryAround(project.real, sandbox))
  } finally {
    closeAll([project.descriptor, ...mounts.descriptors])
  }
}

/**
 * Adds all mounts, and says what they are. What is read-only in the project counts as protected. A part that is bound only to be
 * a mount counts as the project.
 */
function mounted(
  mounts: Mounts,
  sandbox: Sandbox,
  project: OpenedProject,
  repository: Repository | null,
): PolicyFacts {
  const { user } = project
  addMounts(mounts, sandbox, project, { repository, sockets: hostSockets() })
  const { name, fixed } = rightsOf(user)
  const isInProject = (role: string): boolean => role.startsWith('project/')
  const read = mounts.rolesOf('--ro-bind-fd')
  const memory = [EMPTY_HOME, EMPTY_TMP].filter((role) => mounts.rolesOf('--tmpfs').includes(role))
  return {
    visible: unique(['system', ...read.filter((role) => !isInProject(role))]),
    writable: unique([
      ...mounts.rolesOf('--bind-fd').filter((role) => !isInProject(role)),
      ...mounts.rolesOf('--overlay'),
      ...memory,
    ]),
    protected: unique(read.filter(isInProject).map((role) => role.slice('project/'.length))),
    ...name,
    policy_sha256: policyHash(
      [...systemArguments(), fixed, prelude('', howToRun(user))],
      mounts.roles,
    ),
  }
}

/** What starts bwrap, and in it the shell at the gate. */
function commandLine(
  sandbox: Sandbox,
  user: OpenedProject['user'],
  mounts: readonly string[],
): string[] {
  const forward = sandbox.proxy === null ? '' : startForwarder(sandbox.proxy.port)
  return [
    ...sandbox.enter,
    sandbox.launcher,
    '--clearenv',
    '--json-status-fd',
    String(STATUS_FD),
    ...systemArguments(),
    ...userArguments(user),
    ...(sandbox.hasNetwork ? [] : ['--unshare-net']),
    ...mounts,
    '--args',
    String(VARIABLES_FD),
    '--seccomp',
    String(SECCOMP_FD),
    '--remount-ro',
    '/',
    '--chdir',
    '/',
    '--',
    ...becoming(user, sandbox),
    '/bin/sh',
    '-c',
    prelude(forward, howToRun(user)),
    'sh',
  ]
}

/**
 * Opens the files from `SECCOMP_FD` on, in their order. The environment is in a file that bwrap reads as arguments, because
 * everybody can read a command line. What is of the loader is set after all programs before the command.
 * @param opened gets each as soon as it is open
 */
function openFiles(
  sandbox: Sandbox,
  command: ContainedCommand,
  env: Readonly<Record<string, string>>,
  opened: number[],
): void {
  const write = (content: string | Buffer, mode: number): void => {
    const descriptor = openNameless(sandbox, mode)
    opened.push(descriptor)
    writeWhole(descriptor, Buffer.from(content))
  }
  const { ofLoader = [], others = [] } = Object.groupBy(Object.entries(env), ([name]) =>
    OF_LOADER.test(name) ? 'ofLoader' : 'others',
  )
  if (FILTER === null) throw new SandboxError(`there is no filter for ${process.arch} processors`)
  write(FILTER, 0o400)
  // The user of the container reads the command, and only bwrap the variables.
  write(commandScript(command, ofLoader), 0o444)
  write(variableArguments(others), 0o400)
}

/** With them, setpriv, which is root until it has changed the user, would load a library of the command. */
const OF_LOADER = /^(LD|GLIBC)_\w+$/

function variableArguments(variables: readonly (readonly [string, string])[]): string {
  const all = variables.flatMap(([name, value]) => ['--setenv', name, value])
  return withoutNul(all)
    .map((text) => `${text}\0`)
    .join('')
}

/** A file that no path leads to. */
function openNameless({ folder }: Sandbox, mode: number): number {
  const path = join(folder, randomUUID())
  try {
    const descriptor = openSync(path, 'wx+', 0o600)
    unlinkSync(path)
    fchmodSync(descriptor, mode)
    return descriptor
  } catch (cause) {
    throwIfShort(cause)
    throw new SandboxError(`no file can be made in ${folder}: ${messageOf(cause)}`)
  }
}

/** Writes all to an empty file, or throws: with a part of it, a full disk would change a command. */
function writeWhole(descriptor: number, content: Buffer): void {
  if (writeSync(descriptor, content, 0, content.length, 0) === content.length) return
  throw new Error('the disk has no room for what its container reads')
}

/** The project is one of its mounts, unless there was an error before. */
function closeAll(descriptors: readonly number[]): void {
  for (const descriptor of new Set(descriptors)) closeSync(descriptor)
}

/**
 * A command of the server's own user has a user namespace. It cannot be the owner of the project there: bwrap would have
 * to run as that owner, who may not reach what is mounted. So bwrap leaves root the right to become somebody else, once.
 * Then process 1 is one of bwrap's own: when bwrap is killed, the kernel lets only a process of the same user end with it.
 */
const userArguments = (user: OpenedProject['user']): string[] =>
  user === null
    ? ['--as-pid-1', '--unshare-user', '--disable-userns', ...ids()]
    : ['CAP_SETUID', 'CAP_SETGID', 'CAP_SETPCAP'].flatMap((name) => ['--cap-add', name])

/** Its own ids, which pasta does not keep in its namespace. */
const ids = (): string[] => {
  const { getuid, getgid } = process
  return ['--uid', String(getuid?.()), '--gid', String(getgid?.())]
}

function becoming(user: OpenedProject['user'], sandbox: Sandbox): string[] {
  if (user === null) return []
  const ids = [`--reuid=${user.uid}`, `--regid=${user.gid}`, '--clear-groups']
  return [programIn(sandbox, 'setpriv'), ...ids, '--inh-caps=-all', '--bounding-set=-all', '--']
}

/** What lets git use a repository outside of the project, in folders of which bwrap has made some as another user. */
function gitVariables(
  repository: Repository | null,
  user: OpenedProject['user'],
): Readonly<Record<string, string>> {
  if (repository === null) return {}
  const safe = { GIT_CONFIG_COUNT: '1', GIT_CONFIG_KEY_0: 'safe.directory' }
  return {
    GIT_DISCOVERY_ACROSS_FILESYSTEM: '1',
    ...(user === null ? {} : { ...safe, GIT_CONFIG_VALUE_0: repository.root }),
  }
}

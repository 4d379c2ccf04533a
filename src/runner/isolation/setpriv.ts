import { closeSync, existsSync, lstatSync, readdirSync, statSync } from 'node:fs'
import { dirname, join } from 'node:path'
import {
  type OpenedProject,
  openProject,
  prepareFolders,
  type Sandbox,
  SandboxError,
} from './sandbox.ts'
import { DEVICES, SECRET_FILES, SECRET_FOLDERS, SYSTEM } from './system.ts'

const SECRETS = [...SECRET_FILES, ...SECRET_FOLDERS]
const READ = 'read-file,read-dir,execute'
const READ_FILE = 'read-file,execute'
const WRITE = `${READ},write-file,remove-dir,remove-file,make-dir,make-reg,make-sock,make-fifo,make-sym,refer,truncate`
const WRITE_FILE = 'read-file,write-file'

/**
 * Prepares a command that shares the namespaces of the server: at the level `landlock` with a list of what it reads and
 * writes, at both levels with a filter of system calls and without capabilities. Throws a `SandboxError` as `container` does.
 */
export function restricted(sandbox: Sandbox, command: readonly string[]): string[] {
  const project = openProject(sandbox)
  closeSync(project.descriptor)
  const { user } = project
  if (sandbox.level === 'uid' && user === null) {
    throw new SandboxError(
      `${sandbox.project} belongs to the user of the server. Give it to another user, who then runs its commands`,
    )
  }
  prepareFolders(sandbox, user)
  return [
    ...['--no-new-privs', '--inh-caps=-all'],
    ...(process.getuid?.() === 0 ? ['--bounding-set=-all'] : []),
    ...(user === null ? [] : [`--reuid=${user.uid}`, `--regid=${user.gid}`, '--clear-groups']),
    ...(sandbox.level === 'landlock' ? landlockArguments(sandbox, user) : []),
    ...['--seccomp-filter', sandbox.filter, '--', ...command],
  ]
}

function landlockArguments(sandbox: Sandbox, user: OpenedProject['user']): string[] {
  const { own, project, readable, writable } = sandbox
  const tools = user === null ? sandbox.tools : sandbox.tools.filter(isOpenToAll)
  const etc = user === null && process.getuid?.() === 0 ? readableOfEtc() : ['/etc']
  const read = [...SYSTEM.filter((path) => path !== '/etc'), ...etc, '/proc', ...tools, ...readable]
  const write = [project, ...(own === null ? [] : [own.home, own.tmp]), ...writable]
  const rule = (path: string, folder: string, file: string): string[] => {
    if (!existsSync(path)) return []
    const access = lstatSync(path).isDirectory() ? folder : file
    return ['--landlock-rule', `path-beneath:${access}:${path}`]
  }
  return [
    ...['--landlock-access', 'fs'],
    ...read.flatMap((path) => rule(path, READ, READ_FILE)),
    ...DEVICES.flatMap((path) => rule(path, WRITE_FILE, WRITE_FILE)),
    ...write.flatMap((path) => rule(path, WRITE, WRITE_FILE)),
  ]
}

/** Whether every user may pass through the folders above a path: setpriv opens it as the user of the command. */
function isOpenToAll(path: string): boolean {
  for (let at = path; at !== '/'; at = dirname(at))
    if ((statSync(at).mode & 0o1) === 0) return false
  return true
}

/** Root owns the secrets of /etc, so what is read is named one by one. */
function readableOfEtc(): string[] {
  const childrenOf = (folder: string): string[] =>
    readdirSync(folder).map((name) => join(folder, name))
  const secret = (path: string): boolean => SECRETS.some((at) => at === path)
  const above = (path: string): boolean => SECRETS.some((at) => at.startsWith(`${path}/`))
  return childrenOf('/etc')
    .flatMap((path) => (above(path) ? childrenOf(path) : [path]))
    .filter((path) => !secret(path))
}

import type { IsolationPolicy } from '../../domain/isolation.ts'
import { sha256 } from '../../lib/sha256.ts'
import type { Repository } from './repositories.ts'
import { isRoot, isWithin, type OpenedProject, type Sandbox } from './sandbox.ts'

/** What a command sees and may change, by roles, and the hash of the arguments that make it so. */
export type PolicyFacts = Pick<
  IsolationPolicy,
  'visible' | 'writable' | 'protected' | 'user' | 'policy_sha256'
>

/** The home and the temporary files of a command that keeps nothing. */
export const EMPTY_HOME = 'empty home'
export const EMPTY_TMP = 'empty tmp'
/** The home that the first check of a run makes, and that of a later one, which begins with what the first one left. */
export const CHECK_HOME = 'home of the first check'
export const COPIED_HOME = 'copy of the home of the first check'

/** All of the repository around a project, and not only its history. */
export const AROUND = 'whole repository'

export const unique = (roles: readonly string[]): string[] => [...new Set(roles)]

/** @param roles what is mounted, or what rules allow, with roles in the place of paths */
export const policyHash = (fixed: readonly string[], roles: readonly string[]): string =>
  sha256(JSON.stringify([fixed, roles]))

/** With whose rights a command of a root server runs, for records and for the hash. Other servers have no choice. */
export function rightsOf({ user, isRootOwned }: Pick<OpenedProject, 'user' | 'isRootOwned'>): {
  readonly name: Pick<PolicyFacts, 'user'>
  readonly fixed: string
} {
  if (!isRoot()) return { name: {}, fixed: '' }
  if (user === null) return { name: { user: 'root' }, fixed: '' }
  return isRootOwned
    ? { name: { user: 'own' }, fixed: 'as a user of its own' }
    : { name: { user: 'owner' }, fixed: 'as the owner of the project' }
}

/** A file or folder that a command sees, with its role in records. */
export type Seen = { readonly path: string; readonly role: string }

const inRole = (paths: readonly string[], role: string): Seen[] =>
  paths.map((path) => ({ path, role }))

/**
 * What a command without mounts of its own sees beside the system and its project.
 * @param repository the one around the project
 */
export function seenIn(sandbox: Sandbox, repository: Repository | null) {
  const { own, tools, readable, writable } = sandbox
  const [home, tmp] = own?.kept === true ? ['home', 'tmp'] : [EMPTY_HOME, EMPTY_TMP]
  return {
    tools: tools.map((path) => ({ path, role: toolRole(path, sandbox) })),
    readable: readable.map((path) => ({ path, role: readableRole(path, sandbox) })),
    repository: [
      ...inRole(repository?.paths ?? [], 'repository'),
      ...inRole(repository?.around?.parts ?? [], AROUND),
    ],
    written: [
      ...(own === null ? [] : [...inRole([own.home], home), ...inRole([own.tmp], tmp)]),
      ...inRole(writable, 'report'),
    ],
  }
}

/** Shows the home of the server's user as `~`: policies are compared between machines and users. */
export function toolRole(path: string, { userHome }: Pick<Sandbox, 'userHome'>): string {
  const inHome = userHome !== '' && userHome !== '/' && isWithin(userHome, path)
  return `tools:${inHome ? `~${path.slice(userHome.length)}` : path}`
}

/** What a tool lets its command read: a folder made for the call, the repository around the project, a program. */
export function readableRole(path: string, sandbox: Sandbox): string {
  if ([...sandbox.hidden, sandbox.folder].some((ours) => isWithin(ours, path))) return 'view'
  return isWithin(path, sandbox.project) ? 'repository' : 'program'
}

/** Without isolation. */
export const EVERYTHING: PolicyFacts = {
  visible: ['everything'],
  writable: ['everything'],
  protected: [],
  policy_sha256: policyHash([], ['everything']),
}

/** If nothing can be started. */
export const NOTHING: PolicyFacts = {
  visible: [],
  writable: [],
  protected: [],
  policy_sha256: policyHash([], []),
}

import type { Level } from '../../src/domain/isolation.ts'
import { isMissing } from './missing.ts'

export const isRoot = process.getuid?.() === 0
/** The id of an ordinary user. */
export const USER = 1500
/** Who may own a project in a test: the user who runs it, and if that is root, another one. */
export const OWNERS = isRoot ? [0, USER] : [process.getuid?.() ?? 0]

const hasLevel = (level: Level): boolean =>
  level === 'none' || !isMissing(level === 'namespaces' ? 'bwrap' : 'landlock')

/** The levels that this machine has. */
export const LEVELS_HERE = (['none', 'namespaces', 'landlock'] as const).filter(hasLevel)

/** These levels, and at each the owners of a project; null: the user who runs the test. */
export const LEVELS = LEVELS_HERE.flatMap(
  (level): (readonly [name: string, level: Level, owner: number | null])[] => [
    [level, level, null],
    ...(isRoot && level !== 'none'
      ? ([[`${level}, in a user's project`, level, USER]] as const)
      : []),
  ],
)

/** Each of these levels once. If the tests run as root, the project is another user's. */
export const ONCE = LEVELS.filter(
  ([, level, owner]) => owner !== null || level === 'none' || !isRoot,
)

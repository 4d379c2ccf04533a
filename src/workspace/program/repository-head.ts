import { join, resolve } from 'node:path'
import { isWithin, realPathOf } from '../../lib/paths.ts'
import { textOrNull } from './files.ts'
import { lineOf } from './git.ts'
import { ROOT } from './paths.ts'

const MAX_PACKED_REFS_BYTES = 4 * 1024 * 1024
const COMMIT = /^(?:[0-9a-f]{40}|[0-9a-f]{64})$/
const REF = /^refs\/[\w@+-][\w@+./-]*$/

/**
 * The commit that the HEAD of the repository in a folder names; null if it names none, or is somewhere else than in the project.
 * It is read without git, which would obey the configuration of the repository.
 */
export function headOf(folder: string): string | null {
  const named = /^gitdir: (.+)$/.exec(lineOf(join(folder, '.git')) ?? '')?.[1]
  const gitDir = within(resolve(folder, named ?? '.git'))
  if (gitDir === null) return null
  const head = lineOf(join(gitDir, 'HEAD')) ?? ''
  if (COMMIT.test(head)) return head
  const ref = /^ref: (.+)$/.exec(head)?.[1] ?? ''
  const common = within(resolve(gitDir, lineOf(join(gitDir, 'commondir')) ?? '.'))
  if (common === null || !REF.test(ref) || ref.includes('..')) return null
  const loose = within(join(common, ref))
  const commit = (loose && lineOf(loose)) ?? packedRef(join(common, 'packed-refs'), ref)
  return commit !== null && COMMIT.test(commit) ? commit : null
}

/** A path through no link that leads out of the project. */
function within(path: string): string | null {
  const real = realPathOf(path)
  return isWithin(ROOT, real) ? real : null
}

function packedRef(path: string, ref: string): string | null {
  const lines = textOrNull(path, MAX_PACKED_REFS_BYTES)?.split('\n')
  return lines?.find((line) => line.endsWith(` ${ref}`))?.slice(0, -ref.length - 1) ?? null
}

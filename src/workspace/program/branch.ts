import { relative } from 'node:path'
import type { Answers, Questions } from '../protocol.ts'
import { GitRefusal, inView } from './git.ts'
import { ROOT } from './paths.ts'

type Made = Answers['branch']

/** Whoever asked for it is in the log. */
const IDENTITY = {
  ...{ GIT_AUTHOR_NAME: 'retrAI', GIT_AUTHOR_EMAIL: 'retrai@localhost' },
  ...{ GIT_COMMITTER_NAME: 'retrAI', GIT_COMMITTER_EMAIL: 'retrai@localhost' },
}

/** What git says of a path to which a part of a patch cannot be applied. */
const CONFLICT =
  /^error: (.*): (?:patch does not apply|already exists in index|does not exist in index|wrong type|.*: binary patch does not apply)$/gm

/** The view of the repository has an index of its own, and no hooks. */
export async function branch(
  { name, message, isLook }: Questions['branch'],
  patch: Buffer,
): Promise<Made> {
  const not = (problem: string): Made => ({ commit: null, conflicts: [], problem })
  const made = await inView(async (git, { holder }): Promise<Made> => {
    const ref = `refs/heads/${name}`
    const text = async (args: readonly string[], input?: Buffer) => {
      const { exitCode, stderr, body } = await git(args, { input: input ?? null, env: IDENTITY })
      return { isDone: exitCode === 0, said: stderr.trim(), out: body.toString().trim() }
    }
    if (!(await text(['check-ref-format', ref])).isDone)
      return not(`${name} is no name of a branch.`)
    if ((await text(['show-ref', '--verify', '--quiet', ref])).isDone) {
      return not(`There is a branch ${name} already.`)
    }
    const head = await text(['rev-parse', '--verify', '--quiet', 'HEAD^{commit}'])
    if (!head.isDone) return not('The repository has no commit yet.')
    const read = await text(['read-tree', head.out])
    if (!read.isDone) return not(read.said)
    const folder = relative(holder, ROOT)
    const place = folder === '' ? [] : [`--directory=${folder}`]
    const apply = ['apply', '--cached', '--binary', '--whitespace=nowarn', ...place]
    const applied = await text([...apply, ...(isLook ? ['--check'] : []), '-'], patch)
    if (!applied.isDone) {
      const conflicts = [...applied.said.matchAll(CONFLICT)].map(([, path = '']) =>
        relative(folder, path),
      )
      return conflicts.length > 0 ? { commit: null, conflicts, problem: null } : not(applied.said)
    }
    if (isLook) return { commit: null, conflicts: [], problem: null }
    const tree = await text(['write-tree'])
    const commit = await text(['commit-tree', tree.out, '-p', head.out], Buffer.from(message))
    const created = commit.isDone ? await text(['update-ref', ref, commit.out, '']) : commit
    return created.isDone ? { commit: commit.out, conflicts: [], problem: null } : not(created.said)
  })
  return made instanceof GitRefusal ? not(made.advice) : made
}

import { createHash } from 'node:crypto'
import type { ArtifactSource } from '../../artifacts/artifacts.ts'
import { codeOf, messageOf } from '../../lib/message-of.ts'
import type { Finding } from './report.ts'

/** The first record that names an artifact. `where` is its run, for people. */
export type NamedArtifact = { readonly where: string; readonly seq: number }

/** How many artifacts may be out of reach before the others are not looked for. */
const MAX_UNREACHABLE = 10

/**
 * Reads the artifacts that records name, and compares their contents with their names.
 * @param isDeleted whether a redaction deleted an artifact
 * @returns how many hold, and what is wrong with the others
 */
export async function verifyArtifacts(
  source: ArtifactSource,
  named: ReadonlyMap<string, NamedArtifact>,
  isDeleted: (name: string) => boolean,
): Promise<{ readonly held: number; readonly findings: readonly Finding[] }> {
  const findings: Finding[] = []
  let held = 0
  let unreachable = 0
  for (const [name, place] of named) {
    // After so many failures, nothing waits for the place any more.
    const problem: Problem | null =
      unreachable < MAX_UNREACHABLE
        ? await artifactProblem(source, name)
        : { problem: 'unreachable', message: `its artifact ${name} was not looked for` }
    if (problem?.problem === 'unreachable') unreachable += 1
    if (problem?.problem === 'missing' && isDeleted(name)) continue
    if (problem === null) held += 1
    else findings.push({ ...problem, ...place })
  }
  return { held, findings }
}

type Problem = Pick<Finding, 'problem' | 'message'>

async function artifactProblem(artifacts: ArtifactSource, name: string): Promise<Problem | null> {
  try {
    const found = await artifacts.read(name)
    if (found === null) return { problem: 'missing', message: `its artifact ${name} is missing` }
    const hash = createHash('sha256')
    for await (const chunk of found.stream) hash.update(chunk)
    if (hash.digest('hex') === name) return null
    return { problem: 'changed', message: `its artifact ${name} has other contents` }
  } catch (cause) {
    if (codeOf(cause) === 'ELOOP') {
      return { problem: 'changed', message: `its artifact ${name} is a link to another file` }
    }
    const why = messageOf(cause)
    return { problem: 'unreachable', message: `its artifact ${name} cannot be read now: ${why}` }
  }
}

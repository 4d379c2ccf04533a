import { err, ok, type Result } from 'neverthrow'
import type { Place } from '../../workspace/answers.ts'
import type { WorkspaceProblem } from '../../workspace/connection.ts'
import type { Failure, Workspace } from '../../workspace/workspace.ts'
import { failed, type ToolOutput } from './tool.ts'

/** A sentence for the model. */
export function describeProblem(path: string, problem: WorkspaceProblem): string {
  const name = JSON.stringify(path)
  switch (problem.type) {
    case 'outside_project':
      return `${name} is outside the project. Paths must stay inside it, also through symbolic links.`
    case 'dangling_link':
      return `${name} leads through ${problem.link}, a symbolic link to nothing.`
    case 'not_found':
      return `${name} does not exist.`
    case 'is_folder':
      return `${name} is a folder, not a file.`
    case 'not_empty':
      return `${name} is a folder that is not empty.`
    case 'not_a_folder':
      return `${name} is not a folder, or leads through something that is not a folder.`
    case 'not_a_file':
      return `${name} is not a regular file.`
    case 'too_large':
      return `${name} is too large to read: it has more than ${problem.maxBytes} bytes.`
    case 'no_access':
      return `${name}: permission denied.`
    case 'guarded':
      return `${name} cannot be changed by tools, because git or this server obeys it. If it must change, a person has to do that.`
    case 'exists':
      return `${name} exists already.`
    case 'changed_meanwhile':
      return `${name} was changed or replaced while it was used. Nothing was done.`
    case 'same_path':
      return 'Both paths are the same. Nothing was changed.'
    case 'into_itself':
      return `${path} cannot be moved into itself.`
    case 'unanswered':
      return problem.message
    case 'unusable':
      return `${name} cannot be used: ${problem.message}`
  }
}

/** The result of a call that failed with this. @param path as the model wrote it */
export function failedBy(path: string, { problem, ...which }: Failure, hint = ''): ToolOutput {
  const output = describeProblem(which.path ?? path, problem) + hint
  if (problem.type !== 'unanswered') return failed(output)
  switch (problem.why) {
    case 'lost':
      return { output: output + UNKNOWN, exitCode: null, outcome: 'unknown' }
    case 'not_started':
      return failed(output)
    default:
      return { output, exitCode: null, outcome: problem.why }
  }
}

const UNKNOWN = ' Whether this took effect is not known. Look before you repeat it.'

/** Where a path of the project leads; the error is for the model. */
export async function placeOf(workspace: Workspace, path: string): Promise<Result<Place, string>> {
  const found = await workspace.ask('resolve', { paths: [path] })
  if (found.isErr()) return err(describeProblem(path, found.error.problem))
  const [place = { problem: { type: 'not_found' } }] = found.value.places
  return 'problem' in place ? err(describeProblem(path, place.problem)) : ok(place)
}

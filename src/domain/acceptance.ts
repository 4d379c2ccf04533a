import * as z from 'zod'
import { command } from './run-config.ts'

export const MOST_FILES = 200
/** The most bytes of UTF-8 of all files together. */
export const MOST_BYTES = 4 * 1024 * 1024
const PATH_BYTES = 1024
const NAME_BYTES = 255

const bytesIn = (text: string): number => new TextEncoder().encode(text).length

/** Why a file cannot have this path, as the end of a sentence; null if it can. */
function pathProblem(path: string): string | null {
  const names = path.split('/')
  if (names.some((name) => ['', '.', '..', '.git'].includes(name.toLowerCase()))) {
    return 'must be a path from the project, with no part that is empty, ".", ".." or ".git"'
  }
  if (path.includes('\0')) return 'must be a path without NUL'
  if (bytesIn(path) > PATH_BYTES || names.some((name) => bytesIn(name) > NAME_BYTES)) {
    return `must be a path of at most ${PATH_BYTES} bytes, and ${NAME_BYTES} in each part`
  }
  return null
}

/** The folders in which a file is. */
const foldersOf = (path: string): string[] =>
  path.split('/').flatMap((_, at, names) => (at === 0 ? [] : [names.slice(0, at).join('/')]))

type Files = { readonly [path: string]: string }

/** Everything that is wrong with files: each message is the end of a sentence, about one path or about all. */
function problemsOf(files: Files): { readonly path: string[]; readonly message: string }[] {
  const paths = Object.keys(files)
  const bytes = Object.values(files).reduce((sum, content) => sum + bytesIn(content), 0)
  const isTooMuch = paths.length > MOST_FILES || bytes > MOST_BYTES
  return [
    ...(isTooMuch
      ? [{ path: [], message: `must be at most ${MOST_FILES} files, of 4 MiB together` }]
      : []),
    ...paths.flatMap((path) => {
      const folder = foldersOf(path).find((above) => Object.hasOwn(files, above))
      const message =
        pathProblem(path) ?? (folder === undefined ? null : `is in ${folder}, which is a file`)
      return message === null ? [] : [{ path: [path], message }]
    }),
  ]
}

const Files = z
  .record(z.string(), z.string())
  .superRefine((files, { addIssue }) => {
    for (const problem of problemsOf(files)) addIssue({ code: 'custom', ...problem })
  })
  .describe(
    'Contents by their paths from the project. They replace what is there: at most 200, of 4 MiB together, and the ' +
      'body of the request has at most 8 MiB',
  )

/** A check that the agent of a run does not see: its files are put into a copy of the project, and its command runs there. */
export const Acceptance = z
  .strictObject({
    files: Files,
    command: command.describe('Runs with bash in the copy. It succeeds with the exit code 0'),
  })
  .meta({
    id: 'Acceptance',
    examples: [
      { files: { 'accept.sh': 'test "$(./product 2 2)" = 4\n' }, command: 'bash accept.sh' },
    ],
  })
export type Acceptance = z.infer<typeof Acceptance>

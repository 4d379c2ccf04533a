import type { AnswerHead } from './answers.ts'
import { MessageReader, messageOf, READY } from './frames.ts'
import { change, remove, rename } from './program/change-files.ts'
import { changed, list, read, resolvePaths, texts } from './program/files.ts'
import { git } from './program/git.ts'
import { problemOf, Refusal } from './program/paths.ts'
import { grep, search } from './program/search.ts'
import { yaml } from './program/yaml.ts'
import type { QuestionName, Questions } from './questions.ts'

/**
 * The program of a workspace: it serves the files of one project, as the user and with the mounts of the commands of its run,
 * in a container in which none of them runs. It reads questions from its input and writes the answers to its output.
 */
type Answered = { readonly answer: unknown; readonly body?: Buffer }
type Serve<Name extends QuestionName> = (
  question: Questions[Name],
  body: Buffer,
) => Answered | Promise<Answered>

const SERVED: { readonly [Name in QuestionName]: Serve<Name> } = {
  read,
  search,
  grep,
  git,
  resolve: (asked) => ({ answer: resolvePaths(asked) }),
  texts: (asked) => ({ answer: texts(asked) }),
  changed: (asked) => ({ answer: changed(asked) }),
  list: (asked) => ({ answer: list(asked) }),
  yaml: async (asked) => ({ answer: await yaml(asked) }),
  change: (asked, body) => ({ answer: change(asked, body) }),
  rename: (asked) => ({ answer: rename(asked) }),
  remove: (asked) => ({ answer: remove(asked) }),
}

/** The server is the only one who asks, so its questions are taken as they are. */
type Asked = { readonly id: number; readonly name: QuestionName; readonly question: never }

async function answer({ id, name, question }: Asked, body: Buffer): Promise<void> {
  try {
    const { answer, body: content } = await SERVED[name](question, body)
    process.stdout.write(messageOf({ id, answer }, content))
  } catch (cause) {
    const path = cause instanceof Refusal ? cause.path : undefined
    const head: AnswerHead = { id, problem: problemOf(cause), ...(path !== undefined && { path }) }
    process.stdout.write(messageOf(head))
  }
}

const reader = new MessageReader()
process.stdout.write(messageOf(READY))
process.stdin.on('data', (chunk: Buffer) => {
  for (const { head, body } of reader.read(chunk)) void answer(head as Asked, body)
})
process.stdin.on('end', () => process.exit())

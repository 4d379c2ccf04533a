import { MessageReader, messageBytes } from '../lib/messages.ts'
import { carry } from './program/carry.ts'
import { change, remove, rename } from './program/change-files.ts'
import { copy, put } from './program/copy.ts'
import { documents, existing, list, read, resolvePaths, yaml } from './program/files.ts'
import { branch, git } from './program/git.ts'
import { hashes } from './program/hashes.ts'
import { problemOf, Refusal } from './program/paths.ts'
import { readPrinted } from './program/printed.ts'
import { protectedFiles } from './program/protected.ts'
import { grep, search } from './program/search.ts'
import { pack, snapshot } from './program/snapshot.ts'
import {
  type AnswerHead,
  type QuestionName,
  type Questions,
  READY,
  type Served,
} from './protocol.ts'

/**
 * The program of a workspace: it serves the files of one project, as the user and with the mounts of the commands of its run,
 * in a container in which none of them runs. It reads questions from its input and writes the answers to its output.
 */
type Serve<Name extends QuestionName> = (
  question: Questions[Name],
  body: Buffer,
) => Served<Name> | Promise<Served<Name>>

const SERVED: { readonly [Name in QuestionName]: Serve<Name> } = {
  read,
  resolve: resolvePaths,
  documents,
  existing,
  list,
  yaml,
  search,
  grep,
  git,
  change,
  rename,
  remove,
  snapshot,
  pack,
  protected: protectedFiles,
  hashes,
  copy,
  put,
  carry,
  branch,
  report: (_, body) => readPrinted(body.toString()),
}

/** The server is the only one who asks, so its questions are taken as they are. */
type Asked = { readonly id: number; readonly name: QuestionName; readonly question: never }

async function answer({ id, name, question }: Asked, body: Buffer): Promise<void> {
  try {
    const { body: content, ...answer } = await SERVED[name](question, body)
    process.stdout.write(messageBytes({ id, answer }, content))
  } catch (cause) {
    const path = cause instanceof Refusal ? cause.path : undefined
    const head: AnswerHead = { id, problem: problemOf(cause), ...(path !== undefined && { path }) }
    process.stdout.write(messageBytes(head))
  }
}

const reader = new MessageReader()
process.stdout.write(messageBytes({ id: READY, answer: null }))
process.stdin.on('data', (chunk: Buffer) => {
  for (const { head, body } of reader.read(chunk)) void answer(head as Asked, body)
})
process.stdin.on('end', () => process.exit())

import { present } from '../domain/present.ts'
import { type Message, MessageReader, messageBytes } from '../lib/messages.ts'
import type { ProcessEnd, RunningProcess } from '../runner/run-command.ts'
import { AnswerHead, PATH_PROBLEMS, type PathProblem, READY } from './protocol.ts'

/** Why there is no answer. `lost`: the program died, so what was asked for may have been done. */
export type Unanswered = {
  readonly type: 'unanswered'
  readonly why: 'lost' | 'timed_out' | 'aborted' | 'not_isolated' | 'not_started'
  /** A sentence for people. */
  readonly message: string
}

export type WorkspaceProblem = PathProblem | Unanswered

/** Whether the program died. */
export const isLost = (problem: WorkspaceProblem): boolean =>
  problem.type === 'unanswered' && problem.why === 'lost'

/** What came back, before it is checked. `path`: which of several paths has the problem. */
export type Reply =
  | { readonly answer: unknown; readonly body: Buffer }
  | { readonly problem: WorkspaceProblem; readonly path?: string }

export const unanswered = (
  why: Unanswered['why'],
  message: string,
): { readonly problem: Unanswered } => ({ problem: { type: 'unanswered', why, message } })

const NOT_STARTED: ReadonlySet<ProcessEnd['end']> = new Set(['not_started', 'not_found'])

/** Why a program that has ended answers nothing. */
function lost({ end, message }: ProcessEnd) {
  if (end === 'not_isolated') return unanswered(end, message)
  if (NOT_STARTED.has(end)) return unanswered('not_started', message)
  const why = message === '' ? 'died' : `was stopped because it ${message}`
  return unanswered('lost', `The program that reads and writes the project's files ${why}.`)
}

/** One program of a workspace, as the server sees it: its pipes, and the questions that wait for an answer. */
export class WorkspaceProcess {
  readonly #process: RunningProcess
  readonly #waiting = new Map<number, (reply: Reply) => void>()
  readonly #ended: Promise<Reply>
  /** Resolves when the program can answer, or has ended. */
  readonly ready: Promise<unknown>
  #count = 0
  #isOver = false

  constructor(process: RunningProcess) {
    this.#process = process
    process.stderr.resume()
    this.#ended = process.ended.then((end) => {
      this.#isOver = true
      const reply = lost(end)
      for (const resolve of this.#waiting.values()) resolve(reply)
      this.#waiting.clear()
      return reply
    })
    const begun = new Promise<Reply>((resolve) => this.#waiting.set(READY, resolve))
    this.ready = Promise.race([begun, this.#ended])
    void this.#read()
  }

  get isOver(): boolean {
    return this.#isOver
  }

  /** Never rejects. */
  ask(name: string, question: object, body?: Buffer): Promise<Reply> {
    if (this.#isOver) return this.#ended
    this.#count += 1
    const id = this.#count
    return new Promise((resolve) => {
      this.#waiting.set(id, resolve)
      this.#process.stdin.write(messageBytes({ id, name, question }, body))
    })
  }

  /** Ends the program. Resolves when nothing of it lives. */
  async stop(): Promise<void> {
    this.#isOver = true
    this.#process.stop()
    await this.#ended
  }

  async #read(): Promise<void> {
    const reader = new MessageReader()
    try {
      for await (const chunk of this.#process.stdout) {
        for (const message of reader.read(chunk)) this.#take(message)
      }
    } catch {
      // What it writes is not in the protocol, so it is not the program any more.
      await this.stop()
    }
  }

  #take({ head, body }: Message): void {
    const { id, ...reply } = AnswerHead.parse(head)
    const resolve = this.#waiting.get(id)
    this.#waiting.delete(id)
    if ('problem' in reply) {
      resolve?.({ problem: reply.problem, ...present({ path: reply.path }) })
    } else resolve?.({ answer: reply.answer, body })
  }
}

/** Why a path of the project cannot be used, as a sentence. */
export function describeProblem(path: string, problem: WorkspaceProblem): string {
  const name = JSON.stringify(path)
  switch (problem.type) {
    case 'dangling_link':
      return `${name} leads through ${problem.link}, a symbolic link to nothing.`
    case 'too_large':
      return `${name} is too large to read: it has more than ${problem.maxBytes} bytes.`
    case 'unanswered':
      return problem.message
    case 'unusable':
      return `${name} cannot be used: ${problem.message}`
    default:
      return `${name} ${PATH_PROBLEMS[problem.type]}`
  }
}

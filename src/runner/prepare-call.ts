import { err, ok, type Result } from 'neverthrow'
import type { IsolationPolicy } from '../domain/isolation.ts'
import { present } from '../domain/present.ts'
import type { Lost } from './call.ts'
import { type Command, type CommandLimits, commandEnvironment } from './command.ts'
import type { Isolation } from './isolation/isolation.ts'
import { EVERYTHING } from './isolation/policy.ts'
import { lowerLimits, policyOf } from './isolation/run-policy.ts'
import { notIsolated } from './isolation/sandbox.ts'
import type { CallEnd, Localhost, NotStarted, StartRequest } from './protocol.ts'

/** What runs, where, and what it may see and use. */
export type Program = Omit<Command, 'timeoutMs' | 'maxBytes' | 'onOutput'>

/** A program that can be started. */
type PreparedCall = {
  readonly request: Omit<StartRequest, 'timeoutMs' | 'keptBytes'>
  /** The most that it prints. */
  readonly outputBytes: number
  /** How it will be isolated; undefined if it cannot be. */
  readonly policy: () => IsolationPolicy | undefined
  /** How it was isolated; undefined if that is not known. */
  readonly policyAfter: (ended: CallEnd | Lost) => IsolationPolicy | undefined
  /** Removes what was made for it. Call this when it has ended: by itself, or in another way. */
  readonly done: (exited: boolean) => Promise<void>
}

/** Isolates a program as its run asks for, within these limits, or refuses it. */
export async function prepareCall(
  program: Program,
  most: CommandLimits,
  own: Isolation,
): Promise<Result<PreparedCall, NotStarted>> {
  const {
    file,
    args,
    cwd,
    project = cwd,
    atLeast,
    atMost = {},
    maxMemoryBytes,
    reports = false,
  } = program
  const tooLong = longArgument(program)
  if (tooLong !== null) return err({ end: 'not_started', message: tooLong })
  const enough = atLeast === undefined ? ok(own) : await own.atLeast(atLeast)
  if (enough.isErr()) return err({ end: 'not_isolated', message: enough.error })
  const isolation = enough.value
  if (isolation.level === null) return err({ end: 'not_isolated', message: isolation.detail })
  const limits = lowerLimits(most, atMost)
  const { outputBytes, group, variables: _, ...kept } = limits
  const ownEnv = commandEnvironment(process.env, program.env)
  const prepared = await isolation.prepare(program, ownEnv)
  const { env, sandbox } = prepared ?? { env: ownEnv, sandbox: null }
  const memoryBytes = Math.min(limits.memoryBytes, maxMemoryBytes ?? limits.memoryBytes)
  const localhost = localhostOf(program)
  return ok({
    request: {
      ...{ file, args, cwd, project, env, limits: { ...kept, memoryBytes }, group, sandbox },
      ...present({ localhost, folder: program.folder }),
      ...(reports ? { reports } : {}),
    },
    outputBytes,
    policy: () => {
      try {
        const facts = isolation.factsFor(project, program.network ?? 'none')
        return policyOf(isolation, facts, limits, program.network)
      } catch {
        return undefined // the project is gone: it will not start
      }
    },
    policyAfter: (ended) => {
      const facts = ended.end === 'lost' ? undefined : sandbox === null ? EVERYTHING : ended.facts
      return facts && policyOf(isolation, facts, limits, program.network)
    },
    done: async (exited) => prepared?.done(exited),
  })
}

/** The most bytes of an argument that Linux passes to a program, without the NUL after it. */
const MAX_ARGUMENT_BYTES = 131_071

/** Why a program cannot get its arguments, as sentences for the model; null if it can. */
function longArgument({ file, args }: Pick<Program, 'file' | 'args'>): string | null {
  const most = Math.max(0, ...args.map((arg) => Buffer.byteLength(arg)))
  if (most <= MAX_ARGUMENT_BYTES) return null
  return (
    `${file} was not started: an argument has ${most} bytes, and no program can get one of more than ${MAX_ARGUMENT_BYTES}. ` +
    'Write it to a file and use that, such as a script.'
  )
}

/** Only commands of the same run that may reach the same hosts share a network. */
const localhostOf = ({ run, localhost, network = 'none' }: Program): Localhost | null =>
  run === undefined || localhost === undefined
    ? null
    : { key: JSON.stringify([run, network]), opens: localhost === 'opens' }

/** How bwrap, and the programs before it, name a lack of descriptors. */
const SHORT_OF_FILES = /: Too many open files( in system)?$/m

/** Why a program did not start. Without a message, bwrap failed, and printed why. */
export function refusalOf(refusal: NotStarted, printed: string): NotStarted {
  if (refusal.message !== '') return refusal
  const isShort = SHORT_OF_FILES.test(printed)
  return { ...notIsolated(printed), ...(isShort && { shortage: 'EMFILE' }) }
}

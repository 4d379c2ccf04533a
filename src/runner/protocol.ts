import type { ProjectFolder } from '../domain/project-folder.ts'
import type { PolicyFacts } from './isolation/policy.ts'
import type { Sandbox } from './isolation/sandbox.ts'

/**
 * What the server and its runner send each other over their pipe. A frame is `[u32 length of the payload][u8 type]
 * [u32 call][payload]`, big-endian. Both ends are the same version of retrAI, and nothing else can reach the pipe.
 */
export const FRAME = {
  /** To the runner: `StartRequest` as JSON. */
  start: 1,
  /** To the runner: a `StopCause`. */
  stop: 2,
  /** In both directions: `[u8 stream][u32 bytes]` that the other end may send, because this one has consumed as many. */
  window: 3,
  /** To the server: output. */
  stdout: 4,
  stderr: 5,
  /** To the server: `CallEnd` as JSON; no process of the command is alive any more. */
  end: 6,
  /** To the server: a `Notice` as JSON, before the end of its call. */
  notice: 7,
  /** From the process of the proxies to the runner: a proxy is open. */
  opened: 8,
  /** To the server: output that must not be shown, only masked: see `OutputQueue`. */
  mutedStdout: 9,
  mutedStderr: 10,
  /** To the server: `[u8 stream][f64 bytes]` that were dropped before what follows. */
  gap: 11,
  /** To the runner: standard input. */
  stdin: 12,
  /** To the runner: that was all of the input. To the server: nothing reads it any more. */
  inputEnd: 13,
  /** In both directions, empty: the runner sends it back. */
  ping: 14,
  /** To the runner: a `RunnerCrash` as JSON, of a test. */
  crash: 15,
} as const
export type FrameType = (typeof FRAME)[keyof typeof FRAME]

/** Bytes of each stream of a call that may be on their way, so that one slow reader does not stop the others. */
export const WINDOW_BYTES = 512 * 1024
/** Bytes that an end has consumed before it returns them to the window. */
export const RETURNED_BYTES = WINDOW_BYTES / 2

/** A command with everything that the runner needs: the runner has no environment and no settings. */
export type StartRequest = {
  readonly file: string
  readonly args: readonly string[]
  readonly cwd: string
  /** The folder that it works on; `cwd` is in it. */
  readonly project: string
  /** Which folder that is; left out if it is not known. */
  readonly folder?: ProjectFolder
  readonly env: Readonly<Record<string, string>>
  /** Null: it may run until it is stopped. */
  readonly timeoutMs: number | null
  /** Whether it may report a text to `REPORT_FD`. */
  readonly reports?: boolean
  /** Whether it has a standard input; otherwise it reads the end of the file at once. */
  readonly hasInput?: boolean
  /** How many bytes of each stream are of use: if there are more, the middle is dropped where it is read. */
  readonly keptBytes: number
  readonly limits: Limits
  /** Where its control group is made; null if none can be made here. */
  readonly group: ControlGroup | null
  /** Null: it has the rights of the server. */
  readonly sandbox: Sandbox | null
  /** Whose ports on localhost it reaches: its own, if this is left out. */
  readonly localhost?: Localhost
}

/** The descriptor to which a command reports. */
export const REPORT_FD = 3
/** A longer report does not count. */
export const MAX_REPORT_BYTES = 8_192

/** A network that the commands of a run share while a process works in the background. */
export type Localhost = {
  /** The same for all that may share it. */
  readonly key: string
  /** Whether it is such a process; the others join the network if it is there. */
  readonly opens: boolean
}

/** The limits that the runner keeps. */
export type Limits = {
  /** The memory of all processes of the command together. */
  readonly memoryBytes: number
  readonly processes: number
  /** The size of its home and its temporary files together, if they are kept on the disk. */
  readonly homeBytes: number
  /** The free space on a disk that it writes to below which it is stopped. */
  readonly freeDiskBytes: number
  /** The limits of all commands of the server together. */
  readonly all: { readonly memoryBytes: number; readonly processes: number }
}

/** The control group of a server, in which each command gets one of its own. Version 1 has a folder for each controller. */
export type ControlGroup =
  | { readonly version: 1; readonly memory: string; readonly pids: string | null }
  | { readonly version: 2; readonly folder: string }

/** Why a command is stopped. */
export type StopCause =
  | 'timed_out'
  | 'out_of_memory'
  | 'too_many_processes'
  | 'disk_full'
  | 'too_much_output'
  | 'aborted'

/** A stop at a limit that the runner keeps. `why` is what the command did, as a part of a sentence. */
export type Stop = { readonly cause: StopCause; readonly why: string }

export type CallEnd = Ended & {
  /** How the command was isolated, if it was. */
  readonly facts?: PolicyFacts
  /** What it reported. */
  readonly report?: string
}

/** How a call ended. */
export type Ended =
  | { readonly end: 'exited'; readonly exitCode: number }
  | { readonly end: StopCause; readonly why?: string }
  /** The process that runs commands died; what the command did is not known. */
  | { readonly end: 'lost' }
  | NotStarted

export type NotStarted = {
  readonly end: 'not_found' | 'not_started' | 'not_isolated'
  /** A sentence for people. */
  readonly message: string
  /** The error code if the system is short of something, such as EMFILE. */
  readonly shortage?: string
}

const HEADER_BYTES = 9

export function frameHeader(type: FrameType, call: number, payloadBytes: number): Buffer {
  const header = Buffer.allocUnsafe(HEADER_BYTES)
  header.writeUInt32BE(payloadBytes, 0)
  header.writeUInt8(type, 4)
  header.writeUInt32BE(call, 5)
  return header
}

export function frame(type: FrameType, call: number, payload: string | Uint8Array): Buffer {
  const bytes = typeof payload === 'string' ? Buffer.from(payload) : payload
  return Buffer.concat([frameHeader(type, call, bytes.length), bytes])
}

export type OutputPiece = {
  readonly chunk: Buffer
  /** Bytes of its stream that were dropped right before it; it begins a line. */
  readonly gap: number
  /** Whether it must not be shown: it may be the rest of a secret that began in the gap. */
  readonly isMuted: boolean
}

export function gapFrame(call: number, stream: FrameType, bytes: number): Buffer {
  const payload = Buffer.allocUnsafe(9)
  payload.writeUInt8(stream, 0)
  payload.writeDoubleBE(bytes, 1)
  return frame(FRAME.gap, call, payload)
}

export type Stream = 'stdin' | 'stdout' | 'stderr'

export function windowFrame(call: number, stream: Stream, bytes: number): Buffer {
  const payload = Buffer.allocUnsafe(5)
  payload.writeUInt8(FRAME[stream], 0)
  payload.writeUInt32BE(bytes, 1)
  return frame(FRAME.window, call, payload)
}

export type Frame = {
  readonly type: FrameType
  readonly call: number
  readonly payload: Buffer
}

const STREAMED: ReadonlySet<number> = new Set([
  ...[FRAME.stdin, FRAME.stdout, FRAME.stderr, FRAME.mutedStdout, FRAME.mutedStderr],
])

/** Splits the received bytes into frames. Streams come as they are received, perhaps in several frames, so they are not copied. */
export class FrameReader {
  /** The beginning of a frame. */
  #rest: Buffer = Buffer.alloc(0)
  /** What is still to come of a frame of a stream. */
  #streamed: { readonly type: FrameType; readonly call: number; missing: number } | null = null

  /** The frames that this chunk brings. */
  read(chunk: Buffer): Frame[] {
    const frames: Frame[] = []
    let bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk])
    while (bytes.length > 0) {
      if (this.#streamed !== null) {
        const { type, call, missing } = this.#streamed
        const payload = bytes.subarray(0, missing)
        frames.push({ type, call, payload })
        this.#streamed.missing -= payload.length
        bytes = bytes.subarray(payload.length)
        if (this.#streamed.missing === 0) this.#streamed = null
        continue
      }
      if (bytes.length < HEADER_BYTES) break
      const length = bytes.readUInt32BE(0)
      const type = bytes.readUInt8(4) as FrameType
      const call = bytes.readUInt32BE(5)
      if (STREAMED.has(type)) {
        this.#streamed = { type, call, missing: length }
        bytes = bytes.subarray(HEADER_BYTES)
        continue
      }
      const end = HEADER_BYTES + length
      if (bytes.length < end) break
      frames.push({ type, call, payload: bytes.subarray(HEADER_BYTES, end) })
      bytes = bytes.subarray(end)
    }
    this.#rest = bytes
    return frames
  }
}

import { closeSync } from 'node:fs'
import { Socket } from 'node:net'
import type { Notice } from '../domain/records.ts'
import { armCrash, reach } from './crash-moments.ts'
import { closeInherited, giveWay } from './helper-process.ts'
import { GuardedFiles } from './isolation/guarded-files.ts'
import { OwnUserProjects } from './isolation/own-user.ts'
import { type OpenedFolder, openFolder } from './isolation/project-folder.ts'
import { killLeftContainers } from './left-containers.ts'
import { Networks } from './network/networks.ts'
import { whyNotStarted } from './process.ts'
import {
  type CallEnd,
  FRAME,
  type Frame,
  FrameReader,
  frame,
  type StartRequest,
  type StopCause,
} from './protocol.ts'
import { ServedCall } from './served-call.ts'

/**
 * The runner: a process of its own that starts all commands, so that the server forks for none. It has no secrets: its
 * environment is empty, and it reads no settings. It ends with its pipe, and its commands with it.
 */
closeInherited()
giveWay()
void killLeftContainers()
const server = new Socket({ fd: 3, readable: true, writable: true })
const calls = new Map<number, ServedCall>()
const networks = new Networks()
const ownUserProjects = new OwnUserProjects()

function take({ type, call: id, payload }: Frame): void {
  switch (type) {
    case FRAME.start:
      void start(id, JSON.parse(payload.toString()))
      break
    case FRAME.stop:
      calls.get(id)?.stop(payload.toString() as StopCause)
      break
    case FRAME.stdin:
      calls.get(id)?.takeInput(payload)
      break
    case FRAME.inputEnd:
      calls.get(id)?.endInput()
      break
    case FRAME.window:
      calls.get(id)?.widen(payload.readUInt8(0), payload.readUInt32BE(1))
      break
    case FRAME.ping:
      server.write(frame(FRAME.ping, id, ''))
      break
    case FRAME.crash:
      armCrash(JSON.parse(payload.toString()))
      break
  }
}

async function start(id: number, request: StartRequest): Promise<void> {
  const call = new ServedCall(id, request, server)
  calls.set(id, call)
  const note = (notice: Notice): void => {
    server.write(frame(FRAME.notice, id, JSON.stringify(notice)))
  }
  const end = await guarding(request, note, () =>
    call.unlessStopped(withNamespaces(request, note, (prepared) => call.run(prepared))),
  )
  reach('before its end')
  calls.delete(id)
  server.write(frame(FRAME.end, id, JSON.stringify(end)))
}

/** Notes what of the guarded files changes while a command runs. Never rejects. */
async function guarding(
  request: StartRequest,
  note: (notice: Notice) => void,
  run: () => Promise<CallEnd>,
): Promise<CallEnd> {
  let opened: OpenedFolder | null = null
  try {
    const { project, folder } = request
    opened =
      folder === undefined || process.platform !== 'linux' ? null : openFolder(project, folder)
    const at = opened === null ? project : `/proc/self/fd/${opened.descriptor}`
    const guarded = new GuardedFiles(at)
    const end = await run().catch((cause) => whyNotStarted(request, cause))
    for (const payload of await guarded.changes()) note({ kind: 'guard_changed', payload })
    return end
  } catch (cause) {
    return whyNotStarted(request, cause)
  } finally {
    if (opened !== null) closeSync(opened.descriptor)
  }
}

/** Runs a command in the namespaces that are made for it outside of its container. */
async function withNamespaces(
  request: StartRequest,
  note: (notice: Notice) => void,
  run: (request: StartRequest) => Promise<CallEnd>,
): Promise<CallEnd> {
  if (request.sandbox?.level !== 'namespaces') return run(request)
  return ownUserProjects.with(request.sandbox, (sandbox) =>
    networks.with({ ...request, sandbox }, note, run),
  )
}

/** The reaper ends what is left. */
const exit = (): never => process.exit()

const reader = new FrameReader()
server.on('data', (chunk: Buffer) => {
  for (const received of reader.read(chunk)) take(received)
})
server.on('error', exit)
server.on('close', exit)

import { startPeer } from '../support/calls.ts'
import { integer, table } from '../support/figures.ts'
import type { DeflateOperations } from './deflate-process.ts'
import type { ObserverOperations } from './observers-process.ts'

const MODES = [
  ['none', 'none'],
  ['each', 'each frame by itself'],
  ['stream', 'with the frames before it'],
] as const
const OBSERVERS = 500
const FRAMES = 400
const WARM_UP = 100

/** What permessage-deflate would save, and what it would cost. */
export async function deflate(): Promise<string> {
  const rows: string[][] = []
  for (const [mode, name] of MODES) rows.push([name, ...(await measure(mode))])
  const head = ['compression', 'bytes a frame', 'frames/s', 'CPU a frame', 'memory a socket']
  return [
    '#### permessage-deflate',
    '',
    table(head, rows),
    '',
    `A bare \`ws\` server that broadcasts ${FRAMES} records to ${OBSERVERS} sockets in another process, with the`,
    'default settings of `ws`. Memory is RSS with the sockets, after the broadcast. Why it is off:',
    'docs/adr/0008.',
  ].join('\n')
}

async function measure(mode: string): Promise<string[]> {
  const module = new URL('./deflate-process.ts', import.meta.url)
  await using server = await startPeer<DeflateOperations>(module, [mode], ['--expose-gc'])
  await using observers = await startPeer<ObserverOperations>(
    new URL('./observers-process.ts', import.meta.url),
  )
  const before = await server.ask('memory', { collect: true })
  const target = { port: await server.ask('port'), path: '/', deflate: mode !== 'none' }
  await observers.ask('open', { target, observers: OBSERVERS })
  await observers.ask('expect', OBSERVERS * WARM_UP)
  await server.ask('broadcast', WARM_UP)
  await observers.ask('complete')

  await observers.ask('expect', OBSERVERS * FRAMES)
  const [bytesBefore, cpuBefore] = [await observers.ask('bytes'), await server.ask('cpu')]
  const { start } = await server.ask('broadcast', FRAMES)
  const end = await observers.ask('complete')
  const frames = OBSERVERS * FRAMES
  const bytes = (await observers.ask('bytes')) - bytesBefore
  const cpu = (await server.ask('cpu')) - cpuBefore
  const after = await server.ask('memory', { collect: true })
  return [
    integer(bytes / frames),
    integer((1e9 * frames) / (end - start)),
    `${((1000 * cpu) / frames).toFixed(1)} µs`,
    `${integer((after.rss - before.rss) / OBSERVERS / 1024)} KiB`,
  ]
}

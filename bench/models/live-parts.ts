import type { ObserverOperations } from '../live/observers-process.ts'
import { watchPath } from '../live/pair.ts'
import type { ServerOperations } from '../live/server-process.ts'
import { startProcess } from '../loop/start-process.ts'
import { startPeer } from '../support/calls.ts'
import { integer, median, table } from '../support/figures.ts'
import { inTemporaryFolder } from '../support/temporary-folder.ts'
import { atLeast, below } from '../support/verdicts.ts'

const OBSERVERS = 1_000
const HISTORY = 20
const REPLIES = 20
const ROUNDS = 7
/** The first replies warm up both sides and do not count. */
const WARM_UP = 3
const ASKED_MS = 50
const ASKED_SHARE = 0.9
const APPENDS = 400
const PER_APPEND = 4

const moduleOf = (path: string): URL => new URL(path, import.meta.url)

/** Replies that 1,000 observers follow word by word, and appends to another run meanwhile. */
export function liveParts(): Promise<string> {
  return inTemporaryFolder(async (folder) => {
    await using server = await startPeer<ServerOperations>(moduleOf('../live/server-process.ts'), [
      folder,
    ])
    const observers = await startPeer<ObserverOperations>(moduleOf('../live/observers-process.ts'))
    await using _observers = observers
    await using model = await startProcess(moduleOf('./stamped-endpoint-process.ts'))
    const port = await server.ask('port')
    const runId = await server.ask('fill', { records: HISTORY, ended: false })
    const other = await server.ask('fill', { records: HISTORY, ended: false })
    const path = `${watchPath(runId, HISTORY - 1)}&live=true`
    await observers.ask('open', { target: { port, path }, observers: OBSERVERS })
    const reply = () => server.ask('reply', { runId, seq: HISTORY - 1, url: model.url })
    const burst = () =>
      server.ask('appendsPerSecond', { runId: other, appends: APPENDS, perAppend: PER_APPEND })

    for (let done = 0; done < WARM_UP; done += 1) await reply()
    await burst()
    await observers.ask('expect', OBSERVERS * REPLIES)
    for (let done = 0; done < REPLIES; done += 1) await reply()
    await observers.ask('complete')
    const delayMs = await observers.ask('delayMs', 0.99)

    const rounds: { readonly alone: number; readonly beside: number }[] = []
    for (let round = 0; round < ROUNDS; round += 1) {
      const alone = await burst()
      const writing = server.ask('replyUntilStopped', { runId, seq: HISTORY - 1, url: model.url })
      const beside = await burst()
      await server.ask('stopReplies')
      await writing
      rounds.push({ alone, beside })
    }
    const share = median(rounds.map(({ alone, beside }) => beside / alone))
    return [
      `#### Replies under way, with ${integer(OBSERVERS)} observers`,
      '',
      table(
        ['', 'asked', 'measured'],
        [
          [
            'p99 from the first byte of the provider to the first part',
            ...below(delayMs, ASKED_MS),
          ],
          [
            'appends/s while a reply is watched, beside those without',
            ...atLeast(share, ASKED_SHARE),
          ],
        ],
      ),
      '',
      `The provider, the server and the observers are three processes. The reply has a piece of text every 10 ms. Appends are those of another run,`,
      `${PER_APPEND} records at a time (${integer(median(rounds.map(({ alone }) => alone)))} appends/s alone); the share is the median of ${ROUNDS} alternating rounds.`,
    ].join('\n')
  })
}

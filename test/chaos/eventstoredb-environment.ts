import { execFile } from 'node:child_process'
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { promisify } from 'node:util'
import { streamOf } from '../../src/log/run-log.ts'
import { type EventStore, MAX_PAGE } from '../../src/store/event-store.ts'
import { openEventStoreDb } from '../../src/store/eventstoredb/eventstoredb-store.ts'
import { DEADLINE_MS, type Environment, LEASE_MS } from './environment.ts'
import type { StoredEvent } from './evidence.ts'
import type { PlannedFault } from './faults.ts'

/** An EventStoreDB, and the shell commands that act on its nodes. Each gets the index of a node as its last argument. */
export type Cluster = {
  readonly url: string
  readonly nodes: number
  /** Ends a node at once, as `kill -9` does. */
  readonly killNode?: string | undefined
  /** Asks a node to stop, or halts it. */
  readonly stopNode?: string | undefined
  /** Lets a node serve again that was killed or stopped. */
  readonly startNode?: string | undefined
}

const SERVERS = 3

/** Three servers on one EventStoreDB. One node is out of service at a time, so the others keep their quorum. */
export async function eventStoreDb(folder: string, cluster: Cluster): Promise<Environment> {
  const dataDirs = Array.from({ length: SERVERS }, (_, n) => join(folder, `data-${n + 1}`))
  for (const dataDir of dataDirs) await mkdir(dataDir)
  const nodes = new Nodes(cluster)
  const store = (await openEventStoreDb({ connectionString: cluster.url }))._unsafeUnwrap()
  const { url } = cluster
  return {
    dataDirs,
    settings: {
      EVENTSTORE_URL: `${url}${url.includes('?') ? '&' : '?'}defaultDeadline=${DEADLINE_MS}`,
      RETRAI_LEASE_SECONDS: String(LEASE_MS / 1000),
    },
    faults: {
      kill_node: (fault) => nodes.outOfService(cluster.killNode, fault),
      stop_node: (fault) => nodes.outOfService(cluster.stopNode, fault),
    },
    endFaults: () => nodes.inService(),
    events: (runId) => eventsIn(store, runId),
    close: () => store.close(),
  }
}

class Nodes {
  readonly #cluster: Cluster
  #inService: Promise<void> = Promise.resolve()

  constructor(cluster: Cluster) {
    this.#cluster = cluster
  }

  /** Takes a node out of service for a while, after all earlier ones are back. */
  outOfService(command: string | undefined, { choice, lastsMs }: PlannedFault): Promise<void> {
    const node = Math.floor(choice * this.#cluster.nodes)
    this.#inService = this.#inService.then(async () => {
      await run(command, node)
      await delay(lastsMs)
      await run(this.#cluster.startNode, node)
    })
    return this.#inService
  }

  inService(): Promise<void> {
    return this.#inService
  }
}

const sh = promisify(execFile)

/** @throws if the command fails: then nothing that follows would mean anything */
async function run(command: string | undefined, node: number): Promise<void> {
  if (command !== undefined) await sh('sh', ['-c', `${command} "$0"`, String(node)])
}

async function eventsIn(store: EventStore, runId: string): Promise<StoredEvent[]> {
  const events: StoredEvent[] = []
  for (;;) {
    const page = { from: events.length, direction: 'forward', limit: MAX_PAGE } as const
    const read = (await store.readStream(streamOf(runId), page))._unsafeUnwrap()
    events.push(...read)
    if (read.length < MAX_PAGE) return events
  }
}

import type { StartedTestContainer } from 'testcontainers'

/** The long-term support version that docker-compose.yml names too. */
const IMAGE = 'eventstore/eventstore:24.10'
/** If the image is not on the machine yet, it must arrive within this time. */
const PULL_MS = 180_000
const START_MS = 60_000

export type RealServer =
  | { readonly type: 'found'; readonly connectionString: string; stop(): Promise<void> }
  | { readonly type: 'missing'; readonly why: string }

/**
 * A real EventStoreDB: the one at EVENTSTORE_URL, or one in a container, if there is Docker and the image can be pulled.
 * With EVENTSTORE_REQUIRED=1 it is an error if there is neither.
 */
export async function findRealServer(): Promise<RealServer> {
  const { EVENTSTORE_URL: connectionString, EVENTSTORE_REQUIRED: required } = process.env
  if (connectionString) return { type: 'found', connectionString, stop: async () => {} }
  try {
    return await startContainer()
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause)
    if (required === '1') throw new Error(`EVENTSTORE_REQUIRED=1, but there is none: ${why}`)
    return { type: 'missing', why }
  }
}

async function startContainer(): Promise<RealServer> {
  const { GenericContainer, getContainerRuntimeClient, ImageName, Wait } = await import(
    'testcontainers'
  )
  const docker = await getContainerRuntimeClient()
  const image = ImageName.fromString(IMAGE)
  if (!(await docker.image.exists(image))) await limited(PULL_MS, docker.image.pull(image))
  const container = new GenericContainer(IMAGE)
    .withEnvironment({
      EVENTSTORE_CLUSTER_SIZE: '1',
      EVENTSTORE_INSECURE: 'true',
      EVENTSTORE_MEM_DB: 'true',
      EVENTSTORE_RUN_PROJECTIONS: 'None',
      EVENTSTORE_TELEMETRY_OPTOUT: 'true',
    })
    .withExposedPorts(2113)
    .withWaitStrategy(
      Wait.forHttp('/health/live', 2113).forStatusCodeMatching((code) => code < 300),
    )
    .withStartupTimeout(START_MS)
  return found(await container.start())
}

function found(container: StartedTestContainer): RealServer {
  return {
    type: 'found',
    connectionString: `esdb://${container.getHost()}:${container.getMappedPort(2113)}?tls=false`,
    stop: async () => {
      await container.stop()
    },
  }
}

async function limited<T>(ms: number, work: Promise<T>): Promise<T> {
  const { promise: expiry, reject } = Promise.withResolvers<never>()
  const timer = setTimeout(() => reject(new Error(`${IMAGE} is not here after ${ms} ms`)), ms)
  try {
    return await Promise.race([work, expiry])
  } finally {
    clearTimeout(timer)
  }
}

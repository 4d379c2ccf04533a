import { openEventStoreDb } from '../../../src/store/eventstoredb/eventstoredb-store.ts'
import { type StandIn, startStandIn } from '../../support/eventstore-stand-in/index.ts'
import { describeEventStoreContract } from '../contract.ts'

const open = async (disturb: (server: StandIn) => () => void) => {
  const server = await startStandIn()
  const { connectionString } = server
  const store = (await openEventStoreDb({ connectionString }))._unsafeUnwrap()
  const calm = disturb(server)
  return {
    store,
    close: async () => {
      calm()
      await store.close()
      await server.stop()
    },
  }
}

describeEventStoreContract('EventStoreDB (protocol stand-in)', () => open(() => () => {}))

describeEventStoreContract(
  'EventStoreDB (protocol stand-in that drops subscriptions)',
  () =>
    open(({ faults }) => {
      let timer: NodeJS.Timeout
      const strike = (): void => {
        if (Math.random() < 0.5) faults.failSubscriptions()
        else faults.endSubscriptions()
        // Now and then long enough for a busy machine to make progress.
        timer = setTimeout(strike, 10 + Math.random() ** 2 * 150)
      }
      strike()
      return () => clearTimeout(timer)
    }),
  { isReading: true },
)

import { openEventStoreDb } from '../../../src/store/eventstoredb/eventstoredb-store.ts'
import { startStandIn } from '../../support/eventstore-stand-in/index.ts'
import { describeEventStoreContract } from '../contract.ts'

describeEventStoreContract('EventStoreDB (protocol stand-in)', async () => {
  const server = await startStandIn()
  const { connectionString } = server
  const store = (await openEventStoreDb({ connectionString }))._unsafeUnwrap()
  return {
    store,
    close: async () => {
      await store.close()
      await server.stop()
    },
  }
})

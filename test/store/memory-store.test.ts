import { memoryStore } from '../support/memory-store.ts'
import { describeEventStoreContract } from './contract.ts'

describeEventStoreContract('the store in memory', async () => {
  const store = memoryStore()
  return { store, close: () => store.close() }
})

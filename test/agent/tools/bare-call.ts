import type { CallContext } from '../../../src/agent/tools/tool.ts'

/** What a call knows of a run without network, processes and earlier results. */
export const BARE = {
  network: 'none',
  processes: null,
  shellFolder: '.',
  onOutput: () => {},
  imageTypes: async () => [],
  resultOf: () => null,
  openOutput: async () => null,
} as const satisfies Partial<CallContext>

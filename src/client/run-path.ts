/** Where the server has a run, or something of it. @param what begins with a slash */
export const runPath = (runId: string, what = ''): string =>
  `/api/runs/${encodeURIComponent(runId)}${what}`

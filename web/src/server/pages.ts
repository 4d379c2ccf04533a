/** The pages about the server as a whole, at `/server/NAME`, and what a person needs to read them. */
export const SERVER_PAGES = [
  { name: 'access', title: 'Access log', needs: 'access:read' },
  { name: 'redactions', title: 'Redactions', needs: 'access:read' },
  { name: 'checkpoints', title: 'Checkpoints', needs: 'checkpoints:read' },
  { name: 'keys', title: 'Keys', needs: 'runs:verify' },
] as const

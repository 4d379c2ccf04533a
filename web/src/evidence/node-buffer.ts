import { Buffer } from 'buffer/index.js'

/** What the server's own code for verifying expects of Node. Import it before that. */
Object.assign(globalThis, { Buffer })

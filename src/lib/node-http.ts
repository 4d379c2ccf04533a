/**
 * What the server needs of `node:http`. An `import` of that module evaluates all of its exports, and with them the whole
 * client of `fetch`, which would cost every start 20 ms and 3 MB.
 */
export const { maxHeaderSize, STATUS_CODES } = process.getBuiltinModule('node:http')

// A custom handler of Azure Functions of the same shape as pinreset's for one queue: it decodes the invocation and the event in it, checks
// the envelope, keeps it on stable storage, and answers. Nothing but Node.js.
'use strict';
const fs = require('node:fs');
const http = require('node:http');

const file = fs.openSync(process.env.KEEP, 'a');
const success = JSON.stringify({ Outputs: {}, Logs: [], ReturnValue: null });

const server = http.createServer((request, response) => {
  if (request.method === 'GET') {
    response.end();
    return;
  }
  const parts = [];
  request.on('data', (part) => parts.push(part));
  request.on('end', () => {
    const end = (error) => {
      response.writeHead(error ? 500 : 200, { 'Content-Type': 'application/json' });
      response.end(error ? '{}' : success);
    };
    let event;
    try {
      const invocation = JSON.parse(Buffer.concat(parts).toString());
      event = JSON.parse(Buffer.from(invocation.Data.message, 'base64').toString());
      if (event.specversion !== '1.0' || !event.id || !event.type || !event.source) throw new Error('no event');
    } catch (error) {
      end(error);
      return;
    }
    fs.write(file, JSON.stringify(event) + '\n', (error) => {
      if (error) end(error);
      else fs.fdatasync(file, end);
    });
  });
});
server.keepAliveTimeout = 60000;
server.listen(Number(process.env.FUNCTIONS_CUSTOMHANDLER_PORT), '127.0.0.1');

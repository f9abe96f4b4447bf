// Java's own HTTP client with its defaults: it offers an upgrade to HTTP/2 with each request of a new connection, or by ALPN.
// Foreign ADDRESS TOKEN [CERTIFICATE]: prints a line for each thing that it was answered. With a certificate it speaks TLS.

import java.io.FileInputStream;
import java.io.InputStream;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse.BodyHandlers;
import java.net.http.WebSocket;
import java.security.KeyStore;
import java.security.cert.CertificateFactory;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionStage;
import java.util.concurrent.TimeUnit;
import javax.net.ssl.SSLContext;
import javax.net.ssl.TrustManagerFactory;

class Foreign {
    static HttpClient client(String[] args) throws Exception {
        HttpClient.Builder builder = HttpClient.newBuilder();
        if (args.length > 2) {
            KeyStore trusted = KeyStore.getInstance(KeyStore.getDefaultType());
            trusted.load(null, null);
            try (InputStream file = new FileInputStream(args[2])) {
                trusted.setCertificateEntry("server", CertificateFactory.getInstance("X.509").generateCertificate(file));
            }
            TrustManagerFactory managers = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
            managers.init(trusted);
            SSLContext context = SSLContext.getInstance("TLS");
            context.init(null, managers.getTrustManagers(), null);
            builder.sslContext(context);
        }
        return builder.build();
    }

    public static void main(String[] args) throws Exception {
        String address = args[0];
        String secure = args.length > 2 ? "s" : "";
        for (String path : new String[] {"/healthz", "/metrics", "/"}) {
            HttpRequest request = HttpRequest.newBuilder(URI.create("http" + secure + "://" + address + path)).build();
            System.out.println("GET " + path + " " + client(args).send(request, BodyHandlers.ofString()).statusCode());
        }
        HttpRequest post = HttpRequest.newBuilder(URI.create("http" + secure + "://" + address + "/api/v1/rooms/general/posts"))
            .header("Authorization", "Bearer " + args[1]).header("Content-Type", "application/json")
            .POST(BodyPublishers.ofString("{\"user\":\"Duke\",\"text\":\"from Java\"}")).build();
        System.out.println("POST " + client(args).send(post, BodyHandlers.ofString()).statusCode());

        CompletableFuture<String> welcome = new CompletableFuture<>();
        CompletableFuture<Integer> closed = new CompletableFuture<>();
        WebSocket socket = client(args).newWebSocketBuilder().subprotocols("chat.v1.json")
            .buildAsync(URI.create("ws" + secure + "://" + address + "/ws"), new WebSocket.Listener() {
                @Override
                public CompletionStage<?> onText(WebSocket socket, CharSequence text, boolean isLast) {
                    welcome.complete(text.toString());
                    return WebSocket.Listener.super.onText(socket, text, isLast);
                }

                @Override
                public CompletionStage<?> onClose(WebSocket socket, int code, String reason) {
                    closed.complete(code);
                    return null;
                }
            }).get(10, TimeUnit.SECONDS);
        socket.sendText("{\"type\":\"hello\",\"user\":\"Duke\"}", true).get(10, TimeUnit.SECONDS);
        System.out.println("hello " + welcome.get(10, TimeUnit.SECONDS).contains("\"type\":\"welcome\""));
        socket.sendClose(1000, "").get(10, TimeUnit.SECONDS);
        System.out.println("closed " + closed.get(10, TimeUnit.SECONDS));
    }
}

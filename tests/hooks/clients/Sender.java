import java.io.ByteArrayInputStream;
import java.net.HttpURLConnection;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublisher;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse.BodyHandlers;

/** Posts the body once in each way, and prints "way status". */
public class Sender {
    static final HttpClient CLIENT = HttpClient.newHttpClient();
    static String hook;

    public static void main(String[] arguments) throws Exception {
        hook = arguments[0];
        System.out.println("client " + offered("client", arguments[1]));
        System.out.println("chunked " + offered("chunked", arguments[1]));
        System.out.println("again " + offered("again", arguments[1]));
        System.out.println("connection " + connection(arguments[1].replace("WAY", "connection").getBytes("UTF-8")));
    }

    /** It offers h2c. */
    static int offered(String way, String text) throws Exception {
        byte[] body = text.replace("WAY", way).getBytes("UTF-8");
        BodyPublisher publisher = way.equals("chunked")
            ? BodyPublishers.ofInputStream(() -> new ByteArrayInputStream(body))
            : BodyPublishers.ofByteArray(body);
        HttpRequest request = HttpRequest.newBuilder(URI.create(hook)).POST(publisher).build();
        return CLIENT.send(request, BodyHandlers.ofString()).statusCode();
    }

    static int connection(byte[] body) throws Exception {
        var connection = (HttpURLConnection) URI.create(hook).toURL().openConnection();
        connection.setDoOutput(true);
        connection.getOutputStream().write(body);
        return connection.getResponseCode();
    }
}

import java.math.BigDecimal;
import java.sql.Connection;
import java.sql.DatabaseMetaData;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.util.ArrayList;
import java.util.List;

/** What the JDBC driver of Arrow Flight SQL, and tools over it, do with the address of a Tollgate. The first check that does not hold ends it. */
class Flight {
    static String url;

    public static void main(String[] args) throws Exception {
        url = "jdbc:arrow-flight-sql://" + args[0] + "?useEncryption=false";
        values();
        parameters();
        errors();
        catalogs();
        ends();
    }

    static Connection connect(String token) throws SQLException {
        return DriverManager.getConnection(url, "finops", token);
    }

    static void check(boolean holds, Object what) {
        if (!holds) {
            throw new AssertionError(what);
        }
    }

    static List<String> texts(ResultSet rows, String column) throws SQLException {
        List<String> texts = new ArrayList<>();
        try (rows) {
            while (rows.next()) {
                texts.add(rows.getString(column));
            }
        }
        return texts;
    }

    static void values() throws SQLException {
        try (Connection connection = connect("tgq-all"); Statement statement = connection.createStatement()) {
            ResultSet rows = statement.executeQuery(
                "SELECT tenant, output_tokens, cost_usd, time, stream FROM usage WHERE tenant = 'acme' ORDER BY time");
            check(rows.next(), "a row");
            check(rows.getString("tenant").equals("acme") && rows.getLong("output_tokens") == 16, "what it is");
            check(rows.getBigDecimal("cost_usd").compareTo(BigDecimal.ZERO) > 0, rows.getBigDecimal("cost_usd"));
            check(rows.getBigDecimal("cost_usd").scale() == 12 && !rows.getBoolean("stream"), "its types");
            check(rows.getTimestamp("time").getTime() > 1_700_000_000_000L, rows.getTimestamp("time"));
            check(rows.next() && !rows.next(), "two rows");
            ResultSet many = statement.executeQuery("SELECT p.price_id FROM prices p, (SELECT 1 FROM prices LIMIT 30) q");
            int count = 0;
            while (many.next()) {
                count++;
            }
            check(count > 1000 && count % 30 == 0, count);
        }
        try (Connection connection = connect("tgq-acme"); Statement statement = connection.createStatement()) {
            check(texts(statement.executeQuery("SELECT DISTINCT tenant FROM usage"), "tenant").equals(List.of("acme")), "its own");
        }
    }

    static void parameters() throws SQLException {
        String sql = "SELECT count(*) AS n FROM usage WHERE tenant = ? AND output_tokens >= ? AND cost_usd < ?";
        try (Connection connection = connect("tgq-all"); PreparedStatement statement = connection.prepareStatement(sql)) {
            String[] tenants = {"acme", "globex", "nobody"};
            long[] wanted = {2, 1, 0};
            for (int at = 0; at < 3; at++) {
                statement.setString(1, tenants[at]);
                statement.setLong(2, 16);
                statement.setBigDecimal(3, new BigDecimal("1000.000000000001"));
                try (ResultSet rows = statement.executeQuery()) {
                    check(rows.next() && rows.getLong("n") == wanted[at], tenants[at]);
                }
            }
        }
    }

    static void errors() throws SQLException {
        try (Connection connection = connect("tgq-all"); Statement statement = connection.createStatement()) {
            String[][] all = {{"SELEC 1", "TG6002"}, {"DROP TABLE usage", "TG6001"}, {"SELECT nothing FROM usage", "TG6002"}};
            for (String[] one : all) {
                try {
                    statement.executeQuery(one[0]);
                    throw new AssertionError(one[0]);
                } catch (SQLException error) {
                    check(error.toString().contains(one[1]), error);
                }
            }
            check(statement.executeQuery("SELECT 7").next(), "it goes on");
        }
        try (Connection connection = connect("wrong"); Statement statement = connection.createStatement()) {
            statement.executeQuery("SELECT 1");
            throw new AssertionError("a wrong token");
        } catch (SQLException error) {
            check(error.toString().contains("TG6003"), error);
        }
    }

    static void catalogs() throws SQLException {
        try (Connection connection = connect("tgq-acme")) {
            DatabaseMetaData about = connection.getMetaData();
            check(about.getDatabaseProductName().equals("Tollgate") && about.isReadOnly(), about.getDatabaseProductName());
            check(about.getIdentifierQuoteString().equals("\"") && !about.supportsTransactions(), "how it is written");
            check(about.getMaxStatementLength() > 0 && about.getSQLKeywords() != null && about.getNumericFunctions() != null, "bounds");
            check(about.supportsOuterJoins() && about.supportsUnionAll() && about.supportsSubqueriesInExists(), "what may be said");
            check(texts(about.getCatalogs(), "TABLE_CAT").equals(List.of("tollgate")), "catalogs");
            check(texts(about.getSchemas(), "TABLE_SCHEM").equals(List.of("public")), "schemas");
            check(texts(about.getTableTypes(), "TABLE_TYPE").equals(List.of("TABLE", "VIEW")), "kinds");
            List<String> tables = texts(about.getTables(null, null, "%", new String[] {"TABLE"}), "TABLE_NAME");
            check(tables.contains("usage") && !tables.contains("daily_spend"), tables);
            check(texts(about.getTables("tollgate", "public", "daily_spend", null), "TABLE_TYPE").equals(List.of("VIEW")), "a view");
            List<String> columns = texts(about.getColumns(null, "public", "usage", "%"), "COLUMN_NAME");
            check(columns.contains("cost_usd") && !columns.contains("log_offset"), columns);
            try (ResultSet money = about.getColumns(null, "public", "usage", "cost_usd")) {
                check(money.next() && money.getInt("COLUMN_SIZE") == 18 && money.getInt("DECIMAL_DIGITS") == 12, "its digits");
                check(money.getString("TYPE_NAME").startsWith("DECIMAL"), money.getString("TYPE_NAME"));
            }
            check(texts(about.getPrimaryKeys(null, "public", "usage"), "COLUMN_NAME").isEmpty(), "primary keys");
            check(texts(about.getImportedKeys(null, "public", "usage"), "PKCOLUMN_NAME").isEmpty(), "foreign keys");
        }
    }

    static void ends() throws Exception {
        String endless = "SELECT count(a.price_id || d.price_id || b.model) AS n FROM prices a, prices b, "
            + "(SELECT p.price_id FROM prices p, prices q, prices r) d";
        try (Connection connection = connect("tgq-all"); Statement statement = connection.createStatement()) {
            check(connection.isValid(30), "it is there");
            Thread ending = new Thread(() -> {
                try {
                    Thread.sleep(1000);
                    statement.cancel();
                } catch (InterruptedException | SQLException error) {
                    throw new AssertionError(error);
                }
            });
            ending.start();
            try (ResultSet rows = statement.executeQuery(endless)) {
                rows.next();
                throw new AssertionError("it was not cancelled");
            } catch (SQLException error) {
                check(error.toString().contains("ancel"), error);
            }
            ending.join();
        }
    }
}
